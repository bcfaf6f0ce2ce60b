/** Orthanc's index through its REST API, when it changes meanwhile, and when an answer is not what it should be. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import type { Json } from '../src/orthanc.ts'
import { inFlight } from '../src/orthanc-index/in-flight.ts'
import type { Indexed } from '../src/orthanc-index/orthanc-index.ts'
import { restIndex } from '../src/orthanc-index/rest.ts'
import { orthancId } from './support/fake-orthanc.ts'
import { IndexedOrthanc } from './support/indexed-orthanc.ts'
import { never } from './support/store.suite.ts'

const OLD = '1.10.1'
const NEW = '1.12.5'
const sorted = (all: Iterable<Indexed>) => [...all].toSorted((a, b) => a.uuid.localeCompare(b.uuid))

async function everything(orthanc: IndexedOrthanc, signal = never): Promise<Indexed[]> {
  const all: Indexed[] = []
  for await (const batch of restIndex(orthanc, 'Orthanc').all(signal)) all.push(...batch)
  return sorted(all)
}

/** Two patients, each with two studies of two series of three instances. */
function site(version: string): IndexedOrthanc {
  const orthanc = new IndexedOrthanc(version)
  for (const name of ['a', 'b']) orthanc.addPatient(name, [2, 2, 3])
  return orthanc
}
const [study, series, instance] = ['a/0', 'a/0/0', 'a/0/0/1'].map(orthancId) as [string, string, string]
const ofInstances = (orthanc: IndexedOrthanc) => orthanc.asked.filter(uri => uri.startsWith('/instances/'))

for (const version of [OLD, NEW, '1.13.0', 'mainline'])
  describe(`the index of Orthanc ${version}`, () => {
    it('has the attachments of all levels', async () => {
      const orthanc = site(version)
      assert.equal(orthanc.rows().length, 2 + 4 + 8 + 24)
      assert.deepEqual(await everything(orthanc), sorted(orthanc.rows()))
      assert.deepEqual(await everything(new IndexedOrthanc(version)), [])
      // Such as one whose instances were removed a moment ago.
      const bare = new IndexedOrthanc(version)
      for (const [name, tree] of Object.entries({ a: [0], b: [1, 0] })) bare.addPatient(name, tree)
      assert.equal(bare.rows().length, 3)
      assert.deepEqual(await everything(bare), sorted(bare.rows()))
    })

    it('has a bounded number of questions under way', async () => {
      const orthanc = new IndexedOrthanc(version)
      for (let i = 0; i < 50; i++) orthanc.addPatient(`${i}`, [2, 1, 20])
      orthanc.beforeAnswer = () => new Promise(setImmediate)
      await everything(orthanc)
      assert.ok(orthanc.mostUnderWay > 8 && orthanc.mostUnderWay <= 3 * 8 + 8 * 8, `${orthanc.mostUnderWay}`)
    })

    for (const [what, id] of Object.entries({ patient: orthancId('b'), study, series, instance }))
      it(`goes on without a ${what} that is removed at any moment`, async () => {
        const moments = site(version)
        await everything(moments)
        for (const [moment] of moments.asked.entries()) {
          const orthanc = site(version)
          let asked = 0
          orthanc.beforeAnswer = () => asked++ === moment && orthanc.remove(id)
          const found = new Set((await everything(orthanc)).map(({ uuid }) => uuid))
          for (const { uuid } of orthanc.files()) assert.ok(found.has(uuid), `moment ${moment}`)
        }
      })

    it('goes on without an attachment that is removed', async () => {
      const orthanc = site(version)
      orthanc.beforeAnswer = uri => uri.endsWith('/info') && orthanc.resources.get(study)?.files.clear()
      assert.deepEqual(await everything(orthanc), sorted(orthanc.rows()))
    })

    it('is not believed to lack what one answer in between says is not there', async () => {
      for (const id of [study, series]) {
        const orthanc = site(version)
        let times = 0
        orthanc.instead = uri => (uri.includes(id) && times++ < 1 ? null : undefined)
        assert.deepEqual(await everything(orthanc), sorted(orthanc.rows()))
        assert.ok(times > 2)
      }
    })

    it('is not read to its end when two answers never fit together', async () => {
      for (const uri of [
        `/studies/${study}`,
        `/series/${series}/attachments`,
        `/series/${series}/attachments/1025/info`,
      ]) {
        const orthanc = site(version)
        orthanc.instead = asked => (asked === uri ? null : undefined)
        await assert.rejects(everything(orthanc), { code: 'Unavailable', retryable: false })
        assert.ok(orthanc.asked.length < 200)
      }
    })

    it('lacks nothing only because something in front of Orthanc says 404 to everything', async () => {
      const orthanc = site(version)
      orthanc.beforeAnswer = uri => {
        if (uri === `/studies/${study}`) orthanc.instead = () => null
      }
      await assert.rejects(everything(orthanc), { code: 'BadConfig', message: 'what answers there is not Orthanc' })
    })

    const odd: Readonly<Record<string, readonly Json[]>> = {
      '/patients': [null, {}, 'x', [1], ['../system'], [`${orthancId('a')}/`]],
      [`/studies/${study}`]: [[], {}, { Series: 'x' }, { Series: ['..'] }, 'x', 7],
      [`/series/${series}`]: [{}, { Instances: [null] }],
      [`/series/${series}/attachments`]: [{}, [1], ['a/b'], [''], ['..']],
      [`/series/${series}/attachments/1025/info`]: [
        ...[[], {}, 'x', { Uuid: 'x', ContentType: 1025, CompressedSize: 1 }],
        { Uuid: '94c86382-89d2-47d3-80d9-6037fae57a8e', ContentType: 1025, CompressedSize: -1 },
        { Uuid: '94c86382-89d2-47d3-80d9-6037fae57a8e', ContentType: 1025, CompressedSize: '1' },
        { Uuid: '94c86382-89d2-47d3-80d9-6037fae57a8e', ContentType: 'dicom', CompressedSize: 1 },
        { Uuid: '94c86382-89d2-47d3-80d9-6037fae57a8e', ContentType: 1, CompressedSize: 1, CompressedMD5: 'x' },
      ],
    }
    for (const [uri, answers] of Object.entries(odd))
      it(`is not read when the answer to ${uri.replaceAll(/[0-9a-f-]{44}/g, 'ID')} is not understood`, async () => {
        for (const answer of answers) {
          const orthanc = site(version)
          orthanc.instead = asked => (asked === uri ? answer : undefined)
          await assert.rejects(everything(orthanc), { code: 'Internal', message: /not understood/ })
        }
      })

    it('is not read when a question fails, and then nothing of it is under way', async () => {
      const total = site(version)
      await everything(total)
      for (let moment = 0; moment < total.asked.length; moment += 3) {
        const orthanc = site(version)
        let asked = 0
        orthanc.beforeAnswer = () => {
          if (asked++ === moment) throw new Fault('Timeout', 'no answer')
        }
        await assert.rejects(everything(orthanc), { code: 'Timeout' })
        assert.equal(orthanc.underWay, 0)
      }
    })

    it('is found by UUID, and no further than needed', async () => {
      const orthanc = site(version)
      const [first, second] = orthanc.rows().filter(({ type }) => type === 'dicom')
      assert.ok(first && second)
      const index = restIndex(orthanc, 'Orthanc')
      const absent = '00000000-0000-4000-8000-000000000000'
      const found = await index.find(new Set([first.uuid, second.uuid, absent]), never)
      assert.deepEqual(sorted(found.values()), sorted([first, second]))
      const before = orthanc.asked.length
      assert.equal((await index.find(new Set(), never)).size, 0)
      assert.equal(orthanc.asked.length, before)
    })
  })

describe('the index of an Orthanc with the new /tools/find', () => {
  it('asks for no instance alone, and an old one for each', async () => {
    for (const [version, count] of [
      [NEW, 0],
      [OLD, 24 * 2],
    ] as const) {
      const orthanc = site(version)
      await everything(orthanc)
      assert.equal(ofInstances(orthanc).length, count)
    }
  })

  it('is read in pages where a series is long', async () => {
    const orthanc = new IndexedOrthanc(NEW)
    orthanc.addPatient('long', [1, 1, 2_500])
    assert.deepEqual(await everything(orthanc), sorted(orthanc.rows()))
    assert.equal(orthanc.asked.filter(uri => uri === '/tools/find').length, 3)
    assert.deepEqual(ofInstances(orthanc), [])
  })

  it('is asked for the instances that are missing there, such as with LimitFindInstances', async () => {
    const orthanc = site(NEW)
    orthanc.limitFind = 1
    assert.deepEqual(await everything(orthanc), sorted(orthanc.rows()))
    assert.equal(ofInstances(orthanc).length, 16 * 2)
    orthanc.limitFind = 0
    orthanc.instead = uri => (uri === '/tools/find' ? [{ ID: instance, Attachments: [] }] : undefined)
    assert.deepEqual(await everything(orthanc), sorted(orthanc.rows()))
  })

  it('is not read when what is found is not understood', async () => {
    const row = { Uuid: 'x', ContentType: 1, CompressedSize: 1 }
    for (const answer of [
      {},
      'x',
      [1],
      [{ ID: '..', Attachments: [] }],
      [{ ID: instance }],
      [{ ID: instance, Attachments: [row] }],
    ] as const) {
      const orthanc = site(NEW)
      orthanc.instead = asked => (asked === '/tools/find' ? answer : undefined)
      await assert.rejects(everything(orthanc), { code: 'Internal', message: /not understood/ })
    }
  })
})

describe('what is no index of Orthanc', () => {
  it('is said to be none', async () => {
    for (const system of [null, [], {}, 'x', { Version: '1.13.0' }, { Version: 1, DatabaseVersion: 6 }]) {
      const orthanc = site(NEW)
      orthanc.instead = uri => (uri === '/system' ? system : undefined)
      await assert.rejects(everything(orthanc), { code: 'BadConfig', message: 'what answers there is not Orthanc' })
    }
  })

  it('is one in which Orthanc hides its patients', async () => {
    const orthanc = site(NEW)
    orthanc.system = { Version: '1.13.0', DatabaseVersion: 6, PatientLevelEnabled: false }
    await assert.rejects(everything(orthanc), { code: 'BadConfig', remedy: /PatientLevelEnabled/ })
  })
})

describe('work in flight', () => {
  const toEnd = async (results: AsyncIterable<unknown>) => {
    for await (const _ of results);
  }

  it('gives results in order, keeps to its bound, and works ahead', async () => {
    let [now, most] = [0, 0]
    const results: number[] = []
    const work = async (input: number) => {
      most = Math.max(most, ++now)
      for (let i = 0; i < 10 - (input % 10); i++) await Promise.resolve()
      now--
      return input
    }
    const inputs = Array.from({ length: 50 }, (_, i) => i)
    for await (const result of inFlight(inputs, 4, work, never)) results.push(result)
    assert.deepEqual(results, inputs)
    assert.equal(most, 4)
  })

  it('is ended by a reader who stops, by a failure, and by its signal', async () => {
    const ended: string[] = []
    const work = (name: string) => (input: number, signal: AbortSignal) =>
      new Promise<number>((resolve, reject) => {
        signal.addEventListener('abort', () => {
          ended.push(`${name} ${input}`)
          reject(Fault.ofAbort(signal))
        })
        if (input === 0) resolve(0)
        if (name === 'failing' && input === 1) reject(new Fault('Timeout', 'late'))
      })
    for await (const _ of inFlight([0, 1, 2], 3, work('stopped'), never)) break
    assert.deepEqual(ended.splice(0), ['stopped 0', 'stopped 1', 'stopped 2'])
    const failing = inFlight([0, 1, 2], 3, work('failing'), never)
    await assert.rejects(toEnd(failing), { code: 'Timeout' })
    assert.deepEqual(ended.splice(0), ['failing 0', 'failing 1', 'failing 2'])
    const abort = new AbortController()
    const told = toEnd(inFlight([1, 2], 3, work('told'), abort.signal))
    setImmediate(() => abort.abort(new Fault('Canceled', 'enough')))
    await assert.rejects(told, { code: 'Canceled', message: 'enough' })
    assert.deepEqual(ended, ['told 1', 'told 2'])
  })
})
