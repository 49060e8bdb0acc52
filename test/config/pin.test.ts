import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { readPin } from '../../config/pin.ts'
import type { Pkcs11Config } from '../../contracts/settings.ts'
import { fault, freshFolder } from './files.ts'

const secret = 'correct horse 8642'

function config(sources: { pinFile?: string; pin?: string }): Pkcs11Config {
  return {
    modulePath: '/m.so',
    token: { slot: 0 },
    pinEnv: 'TOKEN_PIN',
    keyLabelPrefix: 'k',
    maxSessions: 1,
    useGcmIvFromHsm: 'auto',
    ...sources,
  }
}

function pinFile(content: string | Buffer, mode = 0o600): string {
  const file = path.join(freshFolder(), 'pin')
  writeFileSync(file, content)
  chmodSync(file, mode)
  return file
}

const read = (sources: { pinFile?: string; pin?: string }, env: NodeJS.ProcessEnv = {}) =>
  readPin(config(sources), env)

describe('the PIN', () => {
  test('comes from the file, else from the value, else from the variable', () => {
    const file = pinFile('from-file')
    const env = { TOKEN_PIN: 'from-variable' }
    expect(read({ pinFile: file, pin: 'from-value' }, env).pin).toBe('from-file')
    expect(read({ pin: 'from-value' }, env).pin).toBe('from-value')
    expect(read({}, env)).toEqual({ pin: 'from-variable', warnings: [] })
  })

  test('in keyturn.yaml causes a warning, or with a pin_file a warning that it is ignored; neither shows the PIN', () => {
    expect(read({ pin: secret }).warnings).toEqual([
      'the PIN is in keyturn.yaml ("kek.pkcs11.pin"): put it into a pin_file',
    ])
    expect(read({ pinFile: pinFile('x'), pin: secret }).warnings).toEqual([
      '"kek.pkcs11.pin" is ignored beside "pin_file": delete it',
    ])
    expect(read({ pinFile: pinFile('x') }).warnings).toEqual([])
  })

  test.each([
    ['1234\n', '1234'],
    ['1234', '1234'],
    ['1234\n\n', '1234\n'],
    [' 12 34 ', ' 12 34 '],
    ['user:password\n', 'user:password'],
    ['file:///run/secrets/fortanix\n', 'file:///run/secrets/fortanix'],
    ['pässwörd\n', 'pässwörd'],
  ])('of a file with %j is %j: only one newline at the end is cut', (content, pin) => {
    expect(read({ pinFile: pinFile(content) }).pin).toBe(pin)
  })

  test('that ends with white space is used, with a warning', () => {
    const { pin, warnings } = read({ pinFile: pinFile('1234\r\n') })
    expect(pin).toBe('1234\r')
    expect(warnings[0]).toMatch(/^the PIN in ".*" ends with white space/)
  })

  test('file must be readable by its owner only', () => {
    expect(read({ pinFile: pinFile('1', 0o400) }).pin).toBe('1')
    for (const mode of [0o604, 0o644, 0o444, 0o620, 0o460, 0o700, 0o666]) {
      const file = pinFile(secret, mode)
      expect(fault(() => read({ pinFile: file }, { TOKEN_PIN: 'x' }))).toBe(
        `pin-file-unsafe: PIN file "pin" has mode "${mode.toString(8).padStart(4, '0')}", not 0600 or 0400 | run: chmod 0400 pin`,
      )
    }
  })

  test.each([
    ['\uFEFF1234\n', '\uFEFF1234', /^the PIN in ".*" begins with a byte order mark/],
    [' 1234', ' 1234', /^the PIN in ".*" begins with white space/],
    ['1234\t', '1234\t', /^the PIN in ".*" ends with white space/],
  ])('in a file with %j is used, with a warning', (content, pin, warning) => {
    const found = read({ pinFile: pinFile(content) })
    expect(found.pin).toBe(pin)
    expect(found.warnings[0]).toMatch(warning)
    const [value, variable] = [read({ pin }).warnings[1], read({}, { TOKEN_PIN: pin }).warnings[0]]
    expect(value).toMatch(/^the PIN in "kek.pkcs11.pin" (begins|ends) with/)
    expect(variable).toMatch(/^the PIN in variable "TOKEN_PIN" (begins|ends) with/)
  })

  test.each([
    ['a mark of little endian', Buffer.from('\uFEFF1234', 'utf16le')],
    ['a mark of big endian', Buffer.from('\uFEFF1234', 'utf16le').swap16()],
    ['no mark', Buffer.from('1234', 'utf16le')],
    ['no mark, big endian', Buffer.from('1234', 'utf16le').swap16()],
  ])('in UTF-16 is refused before a login is tried: %s', (_, content) => {
    expect(fault(() => read({ pinFile: pinFile(content) }))).toBe(
      'pin-missing: PIN file "pin" is not UTF-8 text: it looks like UTF-16 | save it as UTF-8 without a byte order mark: printf %s PIN > pin',
    )
  })

  describe.skipIf(process.geteuid?.() !== 0)(
    'file of root, as systemd and Kubernetes create it,',
    () => {
      const fileOfRoot = (mode: number, folderMode: number, [uid, gid]: [number, number]) => {
        // All parent folders are checked, so none may be closed to others, as a temporary folder is.
        const top = path.join(freshFolder(), 'run')
        chmodSync(path.dirname(top), 0o755)
        mkdirSync(top)
        chmodSync(top, folderMode)
        const file = path.join(top, 'pin')
        writeFileSync(file, '1234')
        chownSync(file, uid, gid)
        chmodSync(file, mode)
        return file
      }

      test.each([0o440, 0o640])(
        'is accepted with mode %o and our group, in a folder closed to others',
        (mode) => {
          for (const folder of [0o750, 0o500, 0o2770]) {
            expect(read({ pinFile: fileOfRoot(mode, folder, [0, 0]) }).pin).toBe('1234')
          }
        },
      )

      test.each<[string, number, number, [number, number], string]>([
        [
          'a folder that all users can enter',
          0o440,
          0o755,
          [0, 0],
          'in folders that all users can enter',
        ],
        ['a group that is not ours', 0o440, 0o750, [0, 12_345], 'by a group (gid "12345")'],
        ['another owner', 0o440, 0o750, [12_345, 0], 'has mode "0440"'],
        ['a mode that all users can read', 0o444, 0o750, [0, 0], 'has mode "0444"'],
        ['a mode that its group can write', 0o460, 0o750, [0, 0], 'has mode "0460"'],
      ])('is refused with %s', (_, mode, folder, owner, why) => {
        const file = fileOfRoot(mode, folder, owner)
        expect(fault(() => read({ pinFile: file }))).toMatch(/^pin-file-unsafe/)
        expect(fault(() => read({ pinFile: file }))).toContain(why)
      })
    },
  )

  test('file may be a link, as in Kubernetes: the target is checked', () => {
    const folder = freshFolder()
    mkdirSync(path.join(folder, '..data'))
    const target = path.join(folder, '..data', 'pin')
    writeFileSync(target, '1234')
    symlinkSync(target, path.join(folder, 'pin'))
    chmodSync(target, 0o644)
    const link = { pinFile: path.join(folder, 'pin') }
    expect(fault(() => read(link))).toMatch(/^pin-file-unsafe/)
    chmodSync(target, 0o400)
    expect(read(link).pin).toBe('1234')
  })

  test.skipIf(process.geteuid?.() !== 0)('file must not belong to another user', () => {
    const file = pinFile(secret)
    chownSync(file, 12_345, 12_345)
    expect(fault(() => read({ pinFile: file }))).toBe(
      'pin-file-unsafe: PIN file "pin" belongs to another user (uid "12345") | run: chown 0 pin, as the user that runs keyturn',
    )
  })

  test('is refused when it is empty, from any source, and the next source is not tried', () => {
    const env = { TOKEN_PIN: 'good' }
    for (const content of ['', '\n']) {
      const file = pinFile(content)
      expect(fault(() => read({ pinFile: file }, env))).toMatch(
        /^pin-missing: PIN file "pin" is empty/,
      )
    }
    expect(fault(() => read({ pin: '' }, env))).toMatch(/^pin-missing: "kek.pkcs11.pin" is empty/)
    expect(fault(() => read({}, { TOKEN_PIN: '' }))).toBe(
      'pin-missing: PIN variable "TOKEN_PIN" is empty | set TOKEN_PIN, or pin_file in keyturn.yaml',
    )
    expect(fault(() => read({}))).toBe(
      'pin-missing: no PIN: variable "TOKEN_PIN" is not set | set TOKEN_PIN, or pin_file in keyturn.yaml',
    )
  })

  test('file must exist, be a regular file and be text', () => {
    expect(fault(() => read({ pinFile: path.join(freshFolder(), 'none') }))).toMatch(
      /^pin-missing: cannot read PIN file "none": ENOENT \| create it/,
    )
    expect(fault(() => read({ pinFile: freshFolder() }))).toContain('is not a regular file')
    const binary = pinFile(Buffer.of(0xff, 0xfe, 0x31))
    expect(fault(() => read({ pinFile: binary }))).toMatch(
      /^pin-missing: PIN file .* is not UTF-8 text/,
    )
  })

  test('file that is a pipe is refused without waiting for a writer', () => {
    const pipe = path.join(freshFolder(), 'pin')
    execFileSync('mkfifo', ['-m', '600', pipe])
    expect(fault(() => read({ pinFile: pipe }))).toContain('is not a regular file')
  })
})
