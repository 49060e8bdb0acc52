import { basename } from 'node:path'
import { awsCloudHsm } from './cloudhsm.ts'
import { fortanix } from './fortanix.ts'
import { luna } from './luna.ts'
import { nShield } from './nshield.ts'
import { openCryptoki } from './opencryptoki.ts'
import { netHsm, nitrokeyHsm, yubiHsm2 } from './small.ts'
import { kryoptic, nss, p11KitClient, softHsm2 } from './software.ts'
import { utimaco } from './utimaco.ts'
import type { Trouble, Vendor } from './vendor.ts'

/** Modules that somebody may point Keyturn at. One that is not here is used all the same: the probe decides. */
export const vendors: readonly Vendor[] = [
  softHsm2,
  awsCloudHsm,
  luna,
  nShield,
  utimaco,
  fortanix,
  nitrokeyHsm,
  netHsm,
  yubiHsm2,
  kryoptic,
  openCryptoki,
  nss,
  p11KitClient,
]

/**
 * The module's vendor: by what the token says of itself, else by the file's name; null for one that is not known. A
 * module that has no name of its own to say (p11-kit's client shows the tokens of others) is known by its file first.
 */
export function vendorOf(modulePath: string, manufacturer: string | null): Vendor | null {
  const file = basename(modulePath)
  const says = (vendor: Vendor): boolean =>
    manufacturer !== null && vendor.manufacturer?.test(manufacturer) === true
  const isFile = (vendor: Vendor): boolean => vendor.file.test(file)
  const nameless = vendors.find((vendor) => vendor.manufacturer === null && isFile(vendor))
  return nameless ?? vendors.find(says) ?? vendors.find(isFile) ?? null
}

/** Advice of a vendor for what went wrong; null where it has none. */
export function vendorHint(vendor: Vendor | null, trouble: Trouble): string | null {
  const fits = (when: Trouble): boolean =>
    (when.method === undefined || when.method === trouble.method) &&
    (when.ckr === undefined || when.ckr === trouble.ckr) &&
    (when.code === undefined || when.code === trouble.code)
  return vendor?.hints.find(({ when }) => fits(when))?.say ?? null
}
