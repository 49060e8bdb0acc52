import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { lastLine, runCommand } from './run-command.ts'
import type { Archive, ServerName } from './pins.ts'

/** How long a host may take to answer at all: where there is no internet, the next source is tried at once. */
const answerMs = 4_000
/** A whole download. */
const downloadMs = 10 * 60_000

/**
 * Downloads an official archive. Whether the host can be reached is asked first and briefly, because
 * mongodb-memory-server retries for a long time. Throws a plain Error with the reason.
 */
export async function downloadOfficial(
  name: ServerName,
  archive: Archive,
  folder: string,
): Promise<string> {
  await askHost(archive.from)
  return name === 'mongod' ? downloadMongodb(archive, folder) : download(archive.from, folder)
}

async function askHost(address: string): Promise<void> {
  const host = new URL(address).host
  try {
    const answer = await fetch(address, {
      method: 'HEAD',
      signal: AbortSignal.timeout(answerMs),
    })
    if (!answer.ok) throw new Error(`${host} answers ${answer.status.toString()}`)
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } }
    throw new Error(
      `"${host}" cannot be reached (${cause?.code ?? (error as Error).message})`,
      // The stack below is the HTTP client's own and helps nobody.
      { cause: error },
    )
  }
}

/**
 * mongodb-memory-server knows MongoDB's download site (mirrors, proxies). It does not verify TLS unless npm is told to,
 * and knows only MD5: our SHA-256, checked by the caller, is what counts.
 */
async function downloadMongodb(archive: Archive, folder: string): Promise<string> {
  const library = await import('mongodb-memory-server-core/lib/util/MongoBinaryDownload.js').catch(
    () => null,
  )
  if (library === null) return download(archive.from, folder)
  const fetcher = new library.MongoBinaryDownload({
    version: archive.version,
    downloadDir: folder,
    checkMD5: false,
  })
  fetcher.printDownloadProgress = () => undefined
  return fetcher.download(archive.from)
}

async function download(address: string, folder: string): Promise<string> {
  const answer = await fetch(address, { signal: AbortSignal.timeout(downloadMs) })
  if (!answer.ok || answer.body === null) throw new Error(`answered ${answer.status.toString()}`)
  const file = join(folder, address.slice(address.lastIndexOf('/') + 1))
  await pipeline(Readable.fromWeb(answer.body), createWriteStream(file))
  return file
}

/** Unpacks a .tar.gz; answers with the path of the server in it. */
export async function unpackOfficial(
  file: string,
  name: ServerName,
  folder: string,
): Promise<string> {
  const list = await runCommand('tar', ['-tzf', file])
  const member = list.stdout.split('\n').find((line) => line.split('/').at(-1) === name)
  if (member === undefined) throw new Error(`no "${name}" in ${file}`)
  const end = await runCommand('tar', ['-xzf', file, '-C', folder, member])
  if (end.code !== 0) throw new Error(`tar: ${lastLine(end.stderr)}`)
  return join(folder, member)
}
