/** Answers in XML: what is read of them, and that a damaged one proves nothing. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isCode } from '../src/fault.ts'
import { elementOf, type XmlShape, xmlError } from '../src/stores/http/xml.ts'

const answer = (text: string) => ({ status: 200, headers: {}, text, secrets: () => [] })
/** Without the prototypes, which elements do not have. */
const read = (text: string, shape?: XmlShape) => JSON.parse(JSON.stringify(elementOf(answer(text), 'Result', shape)))

const HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!-- from a test -->\n'
const PAGE = `${HEAD}<Result xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <IsTruncated>false</IsTruncated>
  <Contents><Key>a &amp; b &#34;&#x41;&quot; &lt;c&gt;</Key><Owner><ID>me</ID></Owner></Contents>
  <Contents><Key><![CDATA[<d> & e]]></Key><Empty/></Contents>
</Result>
`

describe('XML', () => {
  it('is elements by their names, with texts as they were meant', () => {
    assert.deepEqual(read(PAGE, { lists: ['Contents'] }), {
      IsTruncated: 'false',
      Contents: [
        { Key: 'a & b "A" <c>', Owner: { ID: 'me' } },
        { Key: '<d> & e', Empty: '' },
      ],
    })
  })

  it('has a list also of one, and shows what came twice without need', () => {
    assert.deepEqual(read('<Result><A>1</A><B>1</B><B>2</B></Result>', { lists: ['A'] }), { A: ['1'], B: ['1', '2'] })
  })

  it('keeps spaces only where they belong to texts', () => {
    const text = '<Result>\n <Key> a  </Key>\n</Result>'
    assert.deepEqual([read(text), read(text, { spaces: true })], [{ Key: 'a' }, { Key: ' a  ' }])
  })

  it('tells names that are encoded from others', () => {
    const text = '<Result><Name Encoded="true">a%FF</Name><Name Encoded="false" other="true">b</Name></Result>'
    assert.deepEqual(read(text, { lists: ['Name'], mark: 'Encoded' }), { Name: [{ Encoded: 'a%FF' }, 'b'] })
  })

  it('reads names that JavaScript knows as any other', () => {
    const text = '<Result><__proto__>a</__proto__><constructor>b</constructor></Result>'
    const { ['constructor']: one, ...more } = Object(elementOf(answer(text), 'Result'))
    assert.deepEqual([one, Object.keys(more), Object(more).a], ['b', ['__proto__'], undefined])
  })

  it('proves nothing where it is cut off', () => {
    const whole = PAGE.trimEnd()
    for (let end = 0; end < whole.length; end++)
      assert.throws(() => read(whole.slice(0, end)), isUnproven, `the first ${end} characters`)
    read(whole)
  })

  for (const [what, text] of [
    ['another root', '<Other/>'],
    ['no XML', '{"Result": {}}'],
    ['an element without its end', '<Result><A>1</Result>'],
    ['elements that overlap', '<Result><A><B>1</A></B></Result>'],
    ['elements without an end, deep in each other', `<Result>${'<A>'.repeat(1_000_000)}`],
    ['more after the root', '<Result><A>1</A></Result><p'],
    ['a root that has no end of its own', '<Result/>'],
    ['the root within another', '<html><Result></Result></html>'],
  ] as const)
    it(`proves nothing: ${what}`, () => assert.throws(() => read(text), isUnproven))

  it('has an error, with or without words, or none', () => {
    assert.deepEqual(xmlError('<Error><Code>NoSuchKey</Code><Message>a &amp; b</Message></Error>'), {
      code: 'NoSuchKey',
      message: 'a & b',
    })
    assert.deepEqual(xmlError('<Error></Error>'), { code: '', message: '' })
    for (const text of ['<html>Error</html>', '<Error><Code>NoSuchKey', '<Errors/>', ''])
      assert.equal(xmlError(text), undefined, text)
  })
})

const isUnproven = (error: unknown) => isCode(error, 'Unavailable')
