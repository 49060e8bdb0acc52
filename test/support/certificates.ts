import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Files in PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
  /** Both in one file, as MongoDB wants it. */
  readonly both: string
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** A certificate authority, with everything that it issues in `folder`. */
export class Authority {
  readonly cert: string
  readonly #folder: string
  readonly #name: string

  constructor(folder: string, name: string) {
    this.#folder = folder
    this.#name = name
    this.cert = this.#file('ca.pem')
    const subject = ['-subj', `/CN=${name}`, '-days', '2']
    openssl(
      'req',
      '-x509',
      ...newKey,
      ...subject,
      '-keyout',
      this.#file('ca.key'),
      '-out',
      this.cert,
    )
  }

  /**
   * For clients, and for servers at 127.0.0.1. The organization is the name too: MongoDB takes a client of its own organization
   * for a member of its set. `days`: -1 for one that has expired.
   */
  issue(name: string, days = 2): Certificate {
    const [key, cert, both] = ['key', 'cert', 'pem'].map((end) => this.#file(`${name}.${end}`))
    if (key === undefined || cert === undefined || both === undefined) throw new Error('no names')
    const request = this.#file(`${name}.csr`)
    const names = this.#file(`${name}.ext`)
    writeFileSync(names, 'subjectAltName=IP:127.0.0.1\n')
    openssl('req', ...newKey, '-subj', `/O=${name}/CN=${name}`, '-keyout', key, '-out', request)
    // prettier-ignore
    openssl('x509', '-req', '-in', request, '-CA', this.cert, '-CAkey', this.#file('ca.key'), '-CAcreateserial',
      '-days', days.toString(), '-extfile', names, '-out', cert)
    joinFiles(both, cert, key)
    return { cert, key, both }
  }

  #file(name: string): string {
    return join(this.#folder, `${this.#name}-${name}`)
  }
}

/** Writes the contents of `parts` into `file`. */
export function joinFiles(file: string, ...parts: readonly string[]): void {
  writeFileSync(file, parts.map((part) => readFileSync(part, 'utf8')).join(''), { mode: 0o600 })
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' })
}
