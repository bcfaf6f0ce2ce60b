/** What the command line says of files that fail it. Those that a file system has on call are in test/transcripts. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fileFault } from '../src/cli/file-fault.ts'

const said = (doing: 'read' | 'write', code: string) =>
  fileFault(doing, '/a/b', Object.assign(new Error(`${code}: words of Node, open '/a/b'`), { code })).describe()

describe('a file of the command line', () => {
  it('that its user may not touch', () => {
    assert.equal(
      said('read', 'EACCES'),
      'cannot read /a/b: permission denied [Denied]. Run the command as a user who may read it.',
    )
    assert.match(
      said('write', 'EPERM'),
      /permission denied \[Denied\]. Run the command as a user who may write there\.$/,
    )
  })

  it('that does not fit, or whose disk fails', () => {
    assert.match(said('write', 'ENOSPC'), /^cannot write \/a\/b: the disk is full \[TooLarge\]. Make room/)
    assert.match(said('read', 'EIO'), /\[Unavailable\]. Check the disk or the network mount\.$/)
  })

  it('with a failure that has no words of ours: in those of Node.js, with the path once', () =>
    assert.equal(said('read', 'EODD'), 'cannot read /a/b: EODD: words of Node [BadRequest]'))
})
