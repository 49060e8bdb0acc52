import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { probeFailure } from '../../providers/pkcs11/probe/failure.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import { processes } from '../support/processes.ts'
import { pkcs11Fixture, until, type Pkcs11Fixture } from './fixture.ts'

/** Where Debian's packages and their like put modules. */
const folders = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
]

function find(module: string, debianPackage: string): string | null {
  const path = folders.map((folder) => join(folder, 'pkcs11', module)).find(existsSync)
  if (path !== undefined) return path
  console.error(
    `${module} is missing, its test is skipped; to install it: npm run test:modules (${debianPackage})`,
  )
  return null
}

const p11KitClient = find('p11-kit-client.so', 'p11-kit p11-kit-modules')
const openCryptoki = find('libopencryptoki.so', 'opencryptoki')

/** Real modules without AES-GCM are refused by the name of what they lack. */
describe.skipIf(inject('softhsm') === null)('a module that cannot hold a KEK', () => {
  const running = processes('file')
  let fixture: Pkcs11Fixture

  beforeAll(async () => {
    fixture = await pkcs11Fixture()
  })
  afterAll(() => fixture.close())

  test.skipIf(p11KitClient === null)('p11-kit’s client before a good token', async () => {
    const { folder, label, modulePath, pin } = fixture.token
    const config = { ...fixture.config, modulePath: p11KitClient ?? '' }
    const alone = probeToken({ config, pin })
    await expect(alone).rejects.toMatchObject({
      code: 'token-not-found',
      hint: expect.stringContaining('set P11_KIT_SERVER_ADDRESS') as string,
    })
    const socket = join(folder, 'p11')
    const server = ['server', '-f', '--provider', modulePath, '-n', socket, `pkcs11:token=${label}`]
    running.spawn('p11-kit', server)
    await until(() => existsSync(socket))
    process.env['P11_KIT_SERVER_ADDRESS'] = `unix:path=${socket}`
    const report = await probeToken({ config, pin })
    expect(report.phases.map(({ phase, ok }) => [phase, ok])).toEqual([
      ['mechanisms', false],
      ['clean-up', true],
    ])
    expect(report).toMatchObject({ token: { label }, vendor: { name: 'p11-kit client' } })
    expect(probeFailure(report)).toMatchObject({
      code: 'mechanism-missing',
      message: 'HSM does not support CKM_AES_GCM',
      hint: expect.stringContaining('p11-kit forwards AES-GCM only in versions after') as string,
    })
  })

  // Its soft token was probed by hand (docs/hsm/ibm-opencryptoki.md): the daemon is one for the whole host, and root's.
  test.skipIf(openCryptoki === null || existsSync('/run/pkcsslotd.pid'))(
    'openCryptoki without its daemon',
    async () => {
      const config = { ...fixture.config, modulePath: openCryptoki ?? '' }
      await expect(probeToken({ config, pin: fixture.token.pin })).rejects.toMatchObject({
        code: 'hsm-failed',
        // 6 where the daemon never ran, 2 where it did.
        message: expect.stringMatching(
          /^C_Initialize answered CKR_(FUNCTION_FAILED|HOST_MEMORY) /,
        ) as string,
        hint: expect.stringContaining('its daemon pkcsslotd') as string,
      })
    },
  )
})
