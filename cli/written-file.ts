import { randomBytes } from 'node:crypto'
import { open, realpath, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'

/**
 * Writes a file whole or not at all: into a new one beside it, then renamed over it. An existing file is replaced; through a
 * symbolic link, the file that it leads to. Throws `usage` with the path and the cause.
 */
export async function writeWhole(file: string, text: string): Promise<void> {
  try {
    const target = await realpath(file).catch(() => file)
    const draft = `${target}.${randomBytes(4).toString('hex')}.draft`
    try {
      const handle = await open(draft, 'wx')
      try {
        await handle.writeFile(text)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(draft, target)
    } catch (error) {
      await rm(draft, { force: true })
      throw error
    }
  } catch (cause) {
    throw new KeyturnError('usage', `cannot write "${path.resolve(file)}": ${reasonOf(cause)}`, {
      hint: 'name a file in a folder that this user may write to',
      cause,
    })
  }
}
