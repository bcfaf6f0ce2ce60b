/** Answers in XML, of S3 and Azure. An answer that is damaged, or is not XML, proves nothing. */
import { XMLParser } from 'fast-xml-parser'
import type { HttpAnswer } from './dialect.ts'
import { notTheStores } from './stranger.ts'

const parser = new XMLParser({ parseTagValue: false })

/** The error that an answer holds, also one with HTTP 200; undefined = it holds none. '' = it does not say. */
export function xmlError(text: string): { readonly code: string; readonly message: string } | undefined {
  if (!/<Error[\s>]/.test(text)) return undefined
  const error = parsed(parser, text)?.['Error']
  if (error === undefined) return undefined
  const { Code: code, Message: message } = Object(error)
  return { code: typeof code === 'string' ? code : '', message: typeof message === 'string' ? message : '' }
}

/** The root element that only the answer to this request has, with its end: parsers accept a text that is cut off. */
export function elementOf(reader: XMLParser, answer: HttpAnswer, name: string): unknown {
  const element = parsed(reader, answer.text)?.[name]
  if (element !== undefined && answer.text.trimEnd().endsWith(`</${name}>`)) return element
  throw notTheStores(answer, `no complete ${name}`)
}

function parsed(reader: XMLParser, text: string): Record<string, unknown> | undefined {
  try {
    return reader.parse(text)
  } catch {
    return undefined
  }
}
