import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../config/load-config.ts'
import { fault, freshFolder, least } from './files.ts'

const uri = 'mongodb://u:se-cret@127.0.0.1/'

describe('a secret in the wrong place of the file', () => {
  test.each([
    ['as the whole file', 'se-cret'],
    ['an address as the whole file', uri],
    ['in UTF-16 without a mark', Buffer.from(least.replace('mongodb://', uri), 'utf16le')],
    ['in the place of a section', least.replace(/mongodb: .*/, `mongodb: "${uri}"`)],
    ['in the place of the kek section', least.replace(/kek: .*/, 'kek: se-cret')],
    [
      'in the place of a section of a section',
      least.replace(/kek: .*/, 'kek: { provider: pkcs11, pkcs11: se-cret }'),
    ],
    ['in the place of a key', least.replace(/mongodb: .*/, `mongodb: { "${uri}", database: x }`)],
    ['as the database', least.replace('database: app', `database: "${uri}"`)],
    ['as the install', least.replace('payments', `"${uri}"`)],
  ])('%s is not shown', (_, bytes) => {
    const cwd = freshFolder()
    writeFileSync(path.join(cwd, 'keyturn.yaml'), bytes)
    const message = fault(() => loadConfig({ cwd, env: {} }))
    expect(message).toMatch(/^config-/)
    expect(message.replaceAll('\0', '')).not.toContain('se-cret')
  })
})

test('a file that is not UTF-8 is refused with its path, and so is a folder', () => {
  const cwd = freshFolder()
  for (const bytes of [
    Buffer.from(`\uFEFF${least}`, 'utf16le'),
    Buffer.from(`${least}# é`, 'latin1'),
  ]) {
    writeFileSync(path.join(cwd, 'keyturn.yaml'), bytes)
    expect(fault(() => loadConfig({ cwd, env: {} }))).toMatch(
      /^config-invalid: the configuration file ".*" is not UTF-8 text \| save it as UTF-8/,
    )
  }
  expect(fault(() => loadConfig({ cwd, file: '.', env: {} }))).toMatch(
    /^config-invalid: cannot read .* EISDIR \| give the path of the file in that folder$/,
  )
})
