import { execFileSync } from 'node:child_process'
import { createDecipheriv, createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { dataAad, dekAad } from '../../envelope/aad.ts'
import { openData } from '../../envelope/data.ts'
import { parseEnvelope } from '../../envelope/envelope.ts'
import { gcmOpen } from '../../envelope/gcm.ts'
import { idBytesFromRaw } from '../../envelope/record-id.ts'
import { makeVectors } from '../vectors/make-vectors.ts'

const folder = path.join(import.meta.dirname, '..', 'vectors')
const made = makeVectors()
const hex = (text: string) => Buffer.from(text, 'hex')

interface Published {
  install: string
  collection: string
  field: string
  kek: string
  dek: string
  plaintext: string
  envelopes: { name: string; idBytes: string; envelope: Record<string, string | number> }[]
}

function published(name: string): unknown {
  return JSON.parse(readFileSync(path.join(folder, name), 'utf8'))
}

test.each(Object.keys(made))('%s is what the code makes today', (name) => {
  const file = path.join(folder, name)
  if (process.env['UPDATE_VECTORS'] === '1') {
    writeFileSync(file, `${JSON.stringify(made[name], null, 2)}\n`)
  }
  expect(existsSync(file)).toBe(true)
  expect(published(name)).toEqual(JSON.parse(JSON.stringify(made[name])))
})

test('every vector is derived again by a program that shares no code with keyturn', () => {
  const output = execFileSync('python3', [path.join(folder, 'check.py')], { encoding: 'utf8' })
  expect(output).toMatch(/27 ids agree\n.*27 envelopes agree\n.*1 canary agrees/)
})

test('the program notices one changed digit', () => {
  const script = readFileSync(path.join(folder, 'check.py'), 'utf8')
  const broken = script.replace('keyturn:dek:1', 'keyturn:dek:2')
  // Run from stdin, `__file__` is unknown: say where the vectors are.
  const located = broken.replace(
    'pathlib.Path(__file__).parent',
    `pathlib.Path(${JSON.stringify(folder)})`,
  )
  expect(() => execFileSync('python3', ['-'], { input: located, stdio: 'pipe' })).toThrow(/dekAad/)
})

test('stored documents give the published id bytes', () => {
  const { ids } = published('record-ids.json') as { ids: { document: string; idBytes: string }[] }
  for (const { document, idBytes } of ids) {
    expect(idBytesFromRaw(hex(document)).toString('hex')).toBe(idBytes)
  }
})

test('published envelopes open', () => {
  const file = published('envelopes.json') as Published
  for (const { idBytes, envelope } of file.envelopes) {
    const parsed = parseEnvelope({
      ...envelope,
      ...Object.fromEntries(
        ['dek_iv', 'dek_wrapped', 'iv', 'ciphertext'].map((name) => [
          name,
          hex(String(envelope[name])),
        ]),
      ),
    })
    const place = [file.install, file.collection, file.field, hex(idBytes)] as const
    const dek = gcmOpen(
      hex(file.kek),
      parsed.dek_iv,
      parsed.dek_wrapped,
      dekAad(...place, parsed.kek_version),
    )
    expect(dek.toString('hex')).toBe(file.dek)
    expect(openData(dek, parsed, dataAad(...place)).toString('hex')).toBe(file.plaintext)
  }
})

test('node:crypto, called bare, opens a published wrap under bytes written out by hand', () => {
  const file = published('envelopes.json') as Published
  const { envelope } = file.envelopes.find(({ name }) => name === 'int32')!
  const sealed = hex(String(envelope['dek_wrapped']))
  const aad = createHash('sha256')
    .update('\0\0\0\x0dkeyturn:dek:1')
    .update('\0\0\0\x08payments')
    .update('\0\0\0\x0ccertificates')
    .update('\0\0\0\x13secrets.private_key')
    .update('\0\0\0\x09\x12\0\0\0\0\0\0\0\x2a')
    .update('\0\0\0\x03')
    .digest()
  const decipher = createDecipheriv('aes-256-gcm', hex(file.kek), hex(String(envelope['dek_iv'])))
  decipher.setAAD(aad).setAuthTag(sealed.subarray(32))
  const dek = Buffer.concat([decipher.update(sealed.subarray(0, 32)), decipher.final()])
  expect(dek.toString('hex')).toBe(file.dek)
})
