import { randomBytes } from 'node:crypto'

/** A name that no other test of this or another run uses: for databases, installs, token labels. At most 32 characters. */
export function freshName(prefix: string): string {
  return `${prefix.slice(0, 19)}-${randomBytes(6).toString('hex')}`
}
