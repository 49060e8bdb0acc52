import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { workbench } from '../cli/workbench.ts'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { processes } from '../support/processes.ts'

const canBuild = await canBuildFaultHsm()
const folder = mkdtempSync(join(tmpdir(), 'keyturn-linker-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function build(name: string, source: string, ...flags: string[]): string {
  const [code, module] = [join(folder, `${name}.c`), join(folder, `${name}.so`)]
  writeFileSync(code, source)
  execFileSync('gcc', ['-shared', '-fPIC', '-o', module, code, ...flags])
  return module
}

/** A vendor's module whose own library was not installed. */
function withoutItsLibrary(): string {
  const library = build('libvendor-client', 'int vendor_call(void) { return 0; }')
  const module = build(
    'linked',
    'int vendor_call(void); unsigned long C_GetFunctionList(void **list) { return vendor_call(); }',
    library,
    '-Wl,-soname,linked.so',
  )
  rmSync(library)
  return module
}

const cases: Record<string, [() => string, RegExp, RegExp]> = {
  'linked to a missing library': [
    withoutItsLibrary,
    /cannot be loaded: .*libvendor-client\.so: cannot open shared object file/,
    /the module links to ".*libvendor-client\.so": install it/,
  ],
  'with a missing symbol': [
    () =>
      build(
        'symbol',
        'int vendor_symbol(void); unsigned long C_GetFunctionList(void **list) { return vendor_symbol(); }',
        '-Wl,-z,now',
      ),
    /cannot be loaded: .*undefined symbol: vendor_symbol/,
    /ldd on the module/,
  ],
  'that is not a PKCS#11 module': [
    () => build('other', 'int other(void) { return 0; }'),
    /cannot be loaded: .*C_GetFunctionList/,
    /not a PKCS#11 module|module_path/,
  ],
}

describe.skipIf(!canBuild)('a module', () => {
  const running = processes()

  test.each(Object.entries(cases))("%s is reported with the linker's text", async (_, it) => {
    const [made, message, hint] = it
    const bench = await workbench(running, { KEYTURN_ENCRYPTION_PKCS11_PIN: '1234' })
    await bench.config({
      kek: { provider: 'pkcs11', pkcs11: { module_path: made(), token_label: 'payments' } },
    })
    const { code, json, stderr } = await bench.keyturn('pkcs11-init', '--probe-only', '--json')
    expect(code, stderr).toBe(4)
    expect(json).toMatchObject({
      error: {
        code: 'module-missing',
        message: expect.stringMatching(message) as string,
        hint: expect.stringMatching(hint) as string,
      },
    })
  })
})
