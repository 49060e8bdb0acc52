import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Archive, ServerName } from './pins.ts'

/** The user's cache folder: the only place outside the repository that the servers touch. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const base =
    env['XDG_CACHE_HOME'] ??
    (process.platform === 'darwin' ? join(homedir(), 'Library/Caches') : join(homedir(), '.cache'))
  return join(base, 'keyturn', 'servers')
}

interface CacheRecord {
  archive: string
  sha256: string
  size: number
  modifiedMs: number
}

const folderOf = (name: ServerName, archive: Archive) =>
  join(cacheFolder(), `${name}-${archive.kind}-${archive.version}`)

/**
 * The binary that was unpacked from exactly this archive, or null. A file that is not what was unpacked (cut short,
 * exchanged) counts as absent; it is hashed again only when its size or time differ from what was recorded.
 */
export async function cached(name: ServerName, archive: Archive): Promise<string | null> {
  const folder = folderOf(name, archive)
  const path = join(folder, name)
  try {
    const record = JSON.parse(await readFile(join(folder, 'origin.json'), 'utf8')) as CacheRecord
    if (record.archive !== archive.sha256) return null
    const { size, mtimeMs } = await stat(path)
    const untouched = size === record.size && mtimeMs === record.modifiedMs
    return untouched || (await sha256Of(path)) === record.sha256 ? path : null
  } catch {
    return null
  }
}

/** A folder on the cache's disk for one download; the caller moves what is good into the cache and removes it. */
export async function downloadFolder(): Promise<string> {
  const folder = join(cacheFolder(), `.download-${randomBytes(6).toString('hex')}`)
  await mkdir(folder, { recursive: true })
  return folder
}

/** Moves an unpacked binary into the cache, in one step, so that a second process never sees half of it. */
export async function keep(name: ServerName, archive: Archive, binary: string): Promise<string> {
  const folder = folderOf(name, archive)
  const ready = await downloadFolder()
  await rename(binary, join(ready, name))
  const { size, mtimeMs } = await stat(join(ready, name))
  const record: CacheRecord = {
    archive: archive.sha256,
    sha256: await sha256Of(join(ready, name)),
    size,
    modifiedMs: mtimeMs,
  }
  await writeFile(join(ready, 'origin.json'), JSON.stringify(record, null, 2))
  await rm(folder, { recursive: true, force: true })
  try {
    await rename(ready, folder)
  } catch (error) {
    await rm(ready, { recursive: true, force: true })
    // Another process stored it first; its copy is from the same pinned archive.
    if ((await cached(name, archive)) === null) throw error
  }
  return join(folder, name)
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
