import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { SignedHead } from '../../contracts/audit.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { reasonOf } from '../../contracts/reasons.ts'

/** A head that was kept outside the database. */
export interface KeptHead {
  /** Names it in messages. */
  readonly where: string
  readonly head: string
  readonly entries?: number
  /** Absent for a hash alone. */
  readonly signed?: SignedHead
}

const schema = z.strictObject({
  type: z.literal('keyturn-head/1'),
  install: z.string(),
  entries: z.int().min(0),
  head: z.string().regex(/^[0-9a-f]{64}$/),
  at: z.string(),
  signature: z.string().nullable(),
  key: z.string().nullable(),
})

/** The heads of a file as `audit.anchor_file` has them, a JSON document a line. Throws `usage`. */
export function readHeads(file: string): KeptHead[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new KeyturnError('usage', `cannot read "${file}": ${reasonOf(cause)}`, { cause })
  }
  const lines = text.split('\n').map((line, index) => ({ line, number: index + 1 }))
  const heads = lines
    .filter(({ line }) => line.trim() !== '')
    .map(({ line, number }) => headOf(line, `the head in line ${number} of "${file}"`))
  if (heads.length > 0) return heads
  throw new KeyturnError('usage', `"${file}" has no heads`)
}

function headOf(line: string, where: string): KeptHead {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw notHead(where, 'no JSON')
  }
  const { data, error } = schema.safeParse(value)
  if (data === undefined) throw notHead(where, error.issues[0]?.path.join('.') || 'its members')
  return { where, head: data.head, entries: data.entries, signed: data }
}

function notHead(where: string, what: string): KeyturnError {
  return new KeyturnError('usage', `${where} is none: "${what}"`, {
    hint: 'a head is a line of audit.anchor_file, or what keyturn audit head --json prints',
  })
}
