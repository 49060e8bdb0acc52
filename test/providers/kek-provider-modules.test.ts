import { describe, inject } from 'vitest'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultLab, nssLab } from './lab.ts'
import { aKekProvider, type Kind } from './provider-suite.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())
const page = 100
const modes = ['hsm-writes', 'prefix', 'suffix 16', 'suffix 12 joined']

const kinds: Kind[] = [
  ...modes.map((mode) => ({
    ...{ name: `pkcs11, IV mode ${mode}`, there, page },
    make: () => faultLab(`iv ${mode}`),
  })),
  { name: 'pkcs11 on NSS softokn', make: nssLab, there: inject('nss') !== null, page: 20 },
]

describe.each(kinds)('a KEK provider: $name', aKekProvider)
