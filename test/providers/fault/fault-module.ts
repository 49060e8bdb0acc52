import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../lab.ts'

/** The functions of PKCS#11 that the fault module can spoil (fault-module.c). */
export type Spoiled =
  | 'C_OpenSession'
  | 'C_Login'
  | 'C_GetSlotList'
  | 'C_GetTokenInfo'
  | 'C_GetMechanismList'
  | 'C_GenerateKey'
  | 'C_FindObjectsInit'
  | 'C_EncryptInit'
  | 'C_Encrypt'
  | 'C_DecryptInit'
  | 'C_Decrypt'

export interface FaultModule {
  path: string
  /** `what` is a CKR number, `hang`, `crash` or `delay:<ms>`; `count` calls over all processes, -1 for ever. */
  spoil(
    ...faults: [Spoiled, number | 'hang' | 'crash' | `delay:${number}`, number][]
  ): Promise<void>
  heal(): Promise<void>
  /** How often C_Login was answered with this CKR, over all processes, since the beginning. */
  logins(ckr: number): Promise<number>
}

/** Compiles the module into `folder` and points this process's environment (and so its lanes) at it. */
export async function buildFaultModule(folder: string, real: string): Promise<FaultModule> {
  const path = join(folder, 'fault-module.so')
  const control = join(folder, 'faults')
  const headers = join(process.cwd(), 'node_modules/pkcs11js/includes')
  const source = join(import.meta.dirname, 'fault-module.c')
  await run('gcc', ['-shared', '-fPIC', '-O1', '-I', headers, '-o', path, source, '-ldl'])
  process.env['FAULT_MODULE'] = real
  process.env['FAULT_CONTROL'] = control
  return {
    path,
    spoil: (...faults) => writeFile(control, faults.map(lineOf).join('')),
    heal: () => rm(control, { force: true }),
    logins: async (ckr) => {
      const log = await readFile(`${control}.log`, 'utf8').catch(() => '')
      return log.split('\n').filter((line) => line.startsWith(`C_Login ${ckr} `)).length
    },
  }
}

function lineOf([name, what, count]: [Spoiled, string | number, number]): string {
  return `${name} ${what} ${count < 0 ? '-1' : count.toString().padStart(4, '0')}\n`
}
