import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeWhole } from '../../cli/written-file.ts'

let folder: string
const at = (name: string) => path.join(folder, name)

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'keyturn-written-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

describe('a file that is written whole', () => {
  test('is made, and replaces one that is there', async () => {
    await writeWhole(at('a.html'), 'one')
    await writeWhole(at('a.html'), 'two')
    expect(await readFile(at('a.html'), 'utf8')).toBe('two')
    expect(await readdir(folder)).toEqual(['a.html'])
  })

  test('is the one that a symbolic link leads to', async () => {
    await writeFile(at('b.html'), 'one')
    await symlink(at('b.html'), at('link'))
    await writeWhole(at('link'), 'two')
    expect(await readFile(at('b.html'), 'utf8')).toBe('two')
  })

  test.each([
    ['a folder', () => mkdir(at('c')), 'c', /EISDIR|directory/],
    ['a folder that is not there', () => Promise.resolve(), 'd/e.html', /ENOENT/],
    ['below a file', () => writeFile(at('f'), ''), 'f/e.html', /ENOTDIR/],
  ])('is refused in %s, by its path and the cause', async (_, prepare, name, cause) => {
    await prepare()
    const before = await readdir(folder)
    const refused = writeWhole(at(name), 'x')
    await expect(refused).rejects.toMatchObject({ code: 'usage', exitCode: 2 })
    await expect(refused).rejects.toThrow(`cannot write "${at(name)}": `)
    await expect(refused).rejects.toThrow(cause)
    expect(await readdir(folder)).toEqual(before)
  })

  test.skipIf(process.getuid?.() === 0)('is refused without the permission', async () => {
    await mkdir(at('g'))
    await chmod(at('g'), 0o500)
    await expect(writeWhole(at('g/e.html'), 'x')).rejects.toThrow(/EACCES|permission/)
  })
})
