import { describe, inject } from 'vitest'
import { envLab, pkcs11Lab } from './lab.ts'
import { aKekProvider, type Kind } from './provider-suite.ts'

const kinds: Kind[] = [
  { name: 'env', make: envLab, there: true, page: 1_000 },
  { name: 'pkcs11 on SoftHSM2', make: pkcs11Lab, there: inject('softhsm') !== null, page: 1_000 },
]

describe.each(kinds)('a KEK provider: $name', aKekProvider)
