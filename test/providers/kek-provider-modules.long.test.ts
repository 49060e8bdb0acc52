import { describe, inject } from 'vitest'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultFixture, kryopticFixture, nssFixture, p11KitFixture } from './fixture.ts'
import { aKekProvider, type Kind } from './provider-suite.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())
const page = 100
const modes = ['hsm-writes', 'prefix', 'suffix 16', 'suffix 12 joined']

const kinds: Kind[] = [
  ...modes.map((mode) => ({
    name: `pkcs11, IV mode ${mode}`,
    there,
    page,
    make: () => faultFixture(`iv ${mode}`),
  })),
  { name: 'pkcs11 on NSS softokn', make: nssFixture, there: inject('nss') !== null, page: 20 },
  {
    name: 'pkcs11 on SoftHSM2 through p11-kit’s proxy',
    make: p11KitFixture,
    there: inject('softhsm') !== null && inject('p11KitProxy') !== null,
    page: 20,
  },
  {
    name: 'pkcs11 on Kryoptic',
    make: kryopticFixture,
    there: inject('kryoptic') !== null,
    page: 20,
  },
]

describe.each(kinds)('a KEK provider: $name', aKekProvider)
