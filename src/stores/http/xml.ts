/** Answers in XML, of S3 and Azure. An answer that is damaged, or is not XML, proves nothing. */
import { Parser } from 'htmlparser2'
import type { HttpAnswer } from './dialect.ts'
import { notTheStores } from './stranger.ts'

export interface XmlShape {
  /** Names of elements that may come several times. They are in arrays, also where there is one. */
  readonly lists?: readonly string[]
  /** Whether the spaces around texts belong to them. Default: no. */
  readonly spaces?: boolean
  /** An element with this attribute is an object with one member of the same name. */
  readonly mark?: string
}

/** The error that an answer holds, also one with HTTP 200; undefined = it holds none. '' = it does not say. */
export function xmlError(text: string): { readonly code: string; readonly message: string } | undefined {
  if (!/<Error[\s>]/.test(text)) return undefined
  const error = parsed(text)?.['Error']
  if (error === undefined) return undefined
  const { Code: code, Message: message } = Object(error)
  return { code: typeof code === 'string' ? code : '', message: typeof message === 'string' ? message : '' }
}

/** The root element that only the answer to this request has, with its end: nothing may come after it. */
export function elementOf(answer: HttpAnswer, name: string, shape?: XmlShape): unknown {
  const element = parsed(answer.text, shape)?.[name]
  if (element !== undefined && answer.text.trimEnd().endsWith(`</${name}>`)) return element
  throw notTheStores(answer, `no complete ${name}`)
}

/** Elements within each other. No answer has more than six. With very many, the parser would become slow. */
const DEEPEST = 30

interface Elements {
  [name: string]: unknown
}

/** An element on its way. */
interface Open {
  readonly name: string
  elements: Elements | undefined
  text: string
  isMarked: boolean
}

/** The root element by its name. Undefined where the text ends in the middle of an element. */
function parsed(text: string, { lists = [], spaces = false, mark }: XmlShape = {}): Elements | undefined {
  const open = [opened('')]
  const innermost = () => open.at(-1) as Open
  let isWhole = true
  const parser = new Parser(
    {
      onopentagname: name => {
        if (open.push(opened(name)) > DEEPEST) throw new RangeError('the elements are too deep')
      },
      onattribute: (name, value) => {
        if (name === mark && value === 'true') innermost().isMarked = true
      },
      ontext: part => {
        innermost().text += part
      },
      onclosetag: (name, isImplied) => {
        // An element that closes itself is called implied, too.
        if (isImplied && text.slice(parser.endIndex - 1, parser.endIndex + 1) !== '/>') isWhole = false
        const { elements, text: all, isMarked } = open.pop() as Open
        const value = elements ?? (spaces ? all : all.trim())
        const outer = innermost()
        outer.elements ??= Object.create(null) as Elements
        add(outer.elements, name, mark !== undefined && isMarked ? { [mark]: value } : value, lists.includes(name))
      },
    },
    { xmlMode: true },
  )
  try {
    parser.end(text)
  } catch {
    return undefined
  }
  return isWhole ? (innermost().elements ?? {}) : undefined
}

const opened = (name: string): Open => ({ name, elements: undefined, text: '', isMarked: false })

function add(elements: Elements, name: string, value: unknown, isList: boolean): void {
  const before = elements[name]
  if (Array.isArray(before)) before.push(value)
  else if (before === undefined) elements[name] = isList ? [value] : value
  else elements[name] = [before, value]
}
