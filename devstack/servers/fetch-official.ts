import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { lastLine, runCommand } from './run-command.ts'
import type { Archive, ServerName } from './pins.ts'

/** How long a host may take to answer, so that without internet the next source is tried soon, in milliseconds. */
const answerMs = 4_000
/** A whole download. */
const downloadMs = 10 * 60_000

/**
 * Downloads an official archive into the folder. A short request first checks that the host is reachable, since the download
 * itself may take long. Throws a plain Error with the reason.
 */
export async function downloadOfficial(archive: Archive, folder: string): Promise<string> {
  await askHost(archive.from)
  const answer = await fetch(archive.from, { signal: AbortSignal.timeout(downloadMs) })
  if (!answer.ok || answer.body === null) throw new Error(`answered ${answer.status.toString()}`)
  const file = join(folder, archive.from.slice(archive.from.lastIndexOf('/') + 1))
  await pipeline(Readable.fromWeb(answer.body), createWriteStream(file))
  return file
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
    throw new Error(`"${host}" cannot be reached (${cause?.code ?? (error as Error).message})`, {
      cause: error,
    })
  }
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
