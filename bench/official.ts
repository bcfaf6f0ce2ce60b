/**
 * The official plugin beside ours, for the head of docs/benchmarks.md. These figures are written here, not measured by
 * the bench, which does not have the official plugin. With its library, `npm run bench -- --plugin` measures it.
 */
export const BESIDE_OFFICIAL: readonly string[] = [
  '## Beside the official plugin',
  '',
  '| files and clients | uploads: file system | official | here | reads: file system | official | here |',
  '|---|---|---|---|---|---|---|',
  '| 220 KB, 1 client, store behind 20 ms, files/s | – | 20.4 | 36.6 | – | 41 | 40 |',
  '| 220 KB, 10 clients, store behind 20 ms, files/s | – | 201 | 316 | – | 183 | 177 |',
  '| 220 KB, 10 clients, store without a delay, files/s | 627 | 473 | 480 | 1380 | 871 | 744 |',
  '| the same, encrypted, files/s | – | 391 | 378 | – | 724 | 700 |',
  '| 100 MB, 10 clients, store without a delay, MB/s | 258 | 178 | 169 | 511 | 353 | 341 |',
  '',
  'Uploads to a store behind a network are 1.6 to 1.8 times as fast as those of the official plugin, because each is one round trip instead of two. Reads are at par there: both make one request. Without a network between',
  'them, uploads and large files are at par, and reads of small files are 15 % slower. With `UseTransferManager`, the official plugin is faster with large files: 211 MB/s up and 352 read, against 179 and 318.',
  '',
  'An upload of 220 KB takes 2.7 ms of processor time with the official plugin and 2.55 ms here (1.55 in Orthanc, 1.0 in the engine); a read takes 1.3 and 1.6 ms. The engine takes 164 MB of memory beside Orthanc with ten',
  'clients and files of 100 MB, 332 MB with `UseTransferManager`.',
  '',
  '**Orthanc 1.13 reads at most four files at a time from its storage** (`StorageLoaderThreadsCount`, 4 by default), whichever plugin is used. Behind a network that halves what ten clients get: with 32, they read 388 files',
  'a second with the official plugin and 376 here.',
  '',
  'Measured on 2026-11-26, in turns within one run: Orthanc 1.13.0, the official AWS S3 plugin 2.5.4 (AWS SDK 1.11.178), orthanc-cloud-storage at commit be13f31, the same in-memory S3 stub, clients of `node:http` that drop what they read,',
  '`MaximumStorageCacheSize` 0, other options as Orthanc has them by default, medians of two to three rounds, 2 cores (Intel Xeon) shared with clients and stub. Rates vary by 5 to 10 % from run to run. The tables further',
  'down are of another machine and another Orthanc, and cannot be compared with this one.',
  '',
]
