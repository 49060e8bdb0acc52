import { describe, inject } from 'vitest'
import { envFixture, pkcs11Fixture } from './fixture.ts'
import { aKekProvider, type Kind } from './provider-suite.ts'

const kinds: Kind[] = [
  { name: 'env', make: envFixture, there: true, page: 1_000 },
  {
    name: 'pkcs11 on SoftHSM2',
    make: pkcs11Fixture,
    there: inject('softhsm') !== null,
    page: 1_000,
  },
]

describe.each(kinds)('a KEK provider: $name', aKekProvider)
