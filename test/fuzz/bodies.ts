/**
 * Bodies that no store would write, and bodies that others write in its place. None of them is a store's word for an
 * absence.
 */

const KB = 1024
const xml = (code: string, message: string) =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`
const json = (message: string, more = '') => `{"error": {"code": 503, "message": ${message}${more}}}`
const entities = (times: number) =>
  Array.from({ length: times }, (_, i) => `<!ENTITY e${i + 1} "${`&e${i};`.repeat(10)}">`).join('')

/** Errors in the words of the providers. */
export const errors: Readonly<Record<string, string>> = {
  slowDown: xml('SlowDown', 'Reduce your request rate.'),
  denied: xml('AccessDenied', 'Access Denied'),
  skewed: xml('RequestTimeTooSkewed', 'The difference is too large'),
  expired: xml('ExpiredToken', 'expired'),
  authentication: xml('AuthenticationFailed', 'Server failed to authenticate the request.\nRequestId:1\nTime:2'),
  authorization: `${xml('AuthorizationHeaderMalformed', 'x')}<Region>${'r'.repeat(20_000)}\u001b[2J</Region>`,
  redirect: `<Error><Code>PermanentRedirect</Code><Message>x</Message><Region>\u0007${'é'.repeat(9_000)}</Region></Error>`,
  noSuchUpload: xml('NoSuchUpload', 'x'),
  blockList: xml('InvalidBlockList', 'x'),
  manyErrors: `<Error><Code>a</Code></Error>${'<Error><Code>b</Code></Error>'.repeat(2_000)}`,
  noCode: '<Error></Error>',
  nested: '<Error><Code><a><b>c</b></a></Code><Message><x/><x/></Message></Error>',
  longCode: xml('c'.repeat(60 * KB), 'x'),
  longMessage: xml('Custom', 'm'.repeat(60 * KB)),
  control: xml('Custom', 'a\u001b[31m b\r\nforged line\u0085\u2028\u202e c\u007f'),
  constructorCode: xml('constructor', 'x'),
  prototypeCode: xml('__proto__', 'x'),
  kms: xml('KMS.DisabledException', `kms:${'k'.repeat(60 * KB)}`),
  jsonObject: json('{"toString": 1}', ', "errors": [{"reason": "x"}]'),
  jsonNull: json('null', ', "errors": [null]'),
  jsonLong: json(`"${'a'.repeat(60 * KB)}"`, ', "errors": [{"reason": "x"}]'),
  jsonAccount: json(`"${'account '.repeat(7 * KB)}"`, ', "errors": [{"reason": "x"}]'),
  jsonControl: json('"a\\u001b[31m\\r\\nforged\\u2028 line"', ', "errors": [{"reason": "x"}]'),
  jsonDeep: json('['.repeat(8_000) + ']'.repeat(8_000), ', "errors": [{"reason": "x"}]'),
  jsonList: '{"error": [1]}',
  noBucketMaybe: json('"hold retention billing storage class"', ', "errors": [{"reason": "x"}]'),
}

/** Of somebody else, or of nobody. */
export const others: Readonly<Record<string, string>> = {
  empty: '',
  page: '<!DOCTYPE html><html><head><title>Log in</title></head><body>Welcome</body></html>',
  health: '{"status": "ok"}',
  text: 'no healthy upstream',
  zero: '\0\0\0',
  binary: '\u00ff\u00fe\u0080',
  openTag: '<ListBucketResult><Contents><Key>a',
  openJson: '{"items": [{"name": "a"',
  nullJson: 'null',
  numberJson: '17',
  listJson: '[]',
  deepJson: '['.repeat(30_000),
  deepXml: '<a>'.repeat(20_000),
  deepError: `<Error>${'<a>'.repeat(15_000)}`,
  laughs: `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">${entities(9)}]><Error><Code>&e9;</Code></Error>`,
  external:
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Error><Code>&e;</Code></Error>',
  prototype: '<__proto__><a>1</a></__proto__><Error><__proto__>x</__proto__><constructor>y</constructor></Error>',
  jsonPrototype: '{"__proto__": {"error": {"code": 404}}, "constructor": 1}',
  cdata: '<Error><Code><![CDATA[SlowDown]]></Code></Error>',
  comment: `<Error><!-- ${'-'.repeat(30 * KB)}`,
  attributes: `<Error ${'a="b" '.repeat(8 * KB)}>`,
  spaces: ' '.repeat(60 * KB),
  brackets: '<'.repeat(60 * KB),
  titles: '<title'.repeat(10 * KB),
  words: 'a-'.repeat(30 * KB),
  one: 'a'.repeat(60 * KB),
  slashes: '/'.repeat(60 * KB),
  equals: 'sig='.repeat(15 * KB),
  quotes: "expecting '".repeat(6 * KB),
}

/** Listings in the providers' XML and JSON that have less, or more, than a listing may have. */
export const listings: Readonly<Record<string, string>> = {
  s3NoKey: '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Size>1</Size></Contents></ListBucketResult>',
  s3TextContents: '<ListBucketResult><IsTruncated>false</IsTruncated><Contents>x</Contents></ListBucketResult>',
  s3KeyNested:
    '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key><a>1</a></Key><Size>1</Size></Contents></ListBucketResult>',
  s3BadKey:
    '<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType><Contents><Key>%zz</Key><Size>1</Size></Contents></ListBucketResult>',
  s3BadSize:
    '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>',
  s3NoEnd: '<ListBucketResult><Name>bucket</Name></ListBucketResult>',
  s3OddEnd: '<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>',
  s3NoToken: '<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>',
  s3TokenNested:
    '<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken><a/></NextContinuationToken></ListBucketResult>',
  s3Twice: '<ListBucketResult></ListBucketResult><ListBucketResult></ListBucketResult>',
  azureNoName: '<EnumerationResults><Blobs><Blob><Properties/></Blob></Blobs><NextMarker/></EnumerationResults>',
  azureNoProperties: '<EnumerationResults><Blobs><Blob><Name>a</Name></Blob></Blobs><NextMarker/></EnumerationResults>',
  azureText: '<EnumerationResults><Blobs><Blob>x</Blob></Blobs><NextMarker/></EnumerationResults>',
  azureBadName:
    '<EnumerationResults><Blobs><Blob><Name Encoded="true">%zz</Name><Properties><Content-Length>1</Content-Length></Properties></Blob></Blobs><NextMarker/></EnumerationResults>',
  azureNoBlobs: '<EnumerationResults></EnumerationResults>',
  azureMarkerNested: '<EnumerationResults><Blobs/><NextMarker><a>1</a></NextMarker></EnumerationResults>',
  gcsItemsObject: '{"kind": "storage#objects", "items": {"length": 1}}',
  gcsItemsNull: '{"kind": "storage#objects", "items": [null]}',
  gcsItemsText: '{"kind": "storage#objects", "items": "abc"}',
  gcsNoName: '{"kind": "storage#objects", "items": [{"size": "1"}]}',
  gcsBadSize: '{"kind": "storage#objects", "items": [{"name": "a", "size": {"toString": 1}}]}',
  gcsTokenObject: '{"kind": "storage#objects", "nextPageToken": {"a": 1}}',
}

/** What an answer about one object's metadata, or to a write, may not be. */
export const metadata: Readonly<Record<string, string>> = {
  sizeNull: '{"size": null, "updated": "2026-01-01T00:00:00Z", "crc32c": "AAAAAA=="}',
  sizeList: '{"size": [], "crc32c": "AAAAAA=="}',
  sizeText: '{"size": "many", "crc32c": "AAAAAA=="}',
  sizeObject: '{"size": {"toString": 1}, "updated": {"toString": 1}}',
  sizeNegative: '{"size": "-5"}',
  sizeHuge: '{"size": "1e400"}',
  sizeEmpty: '{"size": ""}',
  updatedObject: '{"size": "4", "updated": {"toString": 1}, "crc32c": {"toString": 1}}',
  crcNull: '{"crc32c": null}',
  uploadNested: '<InitiateMultipartUploadResult><UploadId><a/></UploadId></InitiateMultipartUploadResult>',
  uploadEmpty: '<InitiateMultipartUploadResult/>',
  completeEmpty: '<CompleteMultipartUploadResult/>',
  completeNested: '<CompleteMultipartUploadResult><ETag><a/></ETag></CompleteMultipartUploadResult>',
}

export const bodies: Readonly<Record<string, string>> = { ...errors, ...others, ...listings, ...metadata }
