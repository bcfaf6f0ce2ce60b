/**
 * The results of `work` for each of `inputs`, in their order. At most `most` are under way or wait for the reader.
 * After a failure, or when the reader ends, `work` is aborted, and nothing of it is under way any more.
 */
export async function* inFlight<T, R>(
  inputs: AsyncIterable<T> | Iterable<T>,
  most: number,
  work: (input: T, signal: AbortSignal) => Promise<R>,
  signal: AbortSignal,
): AsyncGenerator<R> {
  const end = new AbortController()
  const both = AbortSignal.any([signal, end.signal])
  const waiting: Promise<R>[] = []
  try {
    for await (const input of inputs) {
      const result = work(input, both)
      result.catch(() => {}) // it is reported where it is awaited, and only if all before it went well
      waiting.push(result)
      if (waiting.length >= most) yield await (waiting.shift() as Promise<R>)
    }
    while (waiting.length > 0) yield await (waiting.shift() as Promise<R>)
  } finally {
    end.abort()
    await Promise.allSettled(waiting)
  }
}
