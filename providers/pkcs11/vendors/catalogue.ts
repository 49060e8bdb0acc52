import { basename } from 'node:path'
import { awsCloudHsm } from './cloudhsm.ts'
import { fortanix } from './fortanix.ts'
import { luna } from './luna.ts'
import { nShield } from './nshield.ts'
import { openCryptoki } from './opencryptoki.ts'
import { netHsm, nitrokeyHsm, yubiHsm2 } from './small.ts'
import { kryoptic, nss, p11KitClient, p11KitProxy, softHsm2 } from './software.ts'
import { utimaco } from './utimaco.ts'
import type { Failure, Vendor } from './vendor.ts'

/** Known modules. An unknown module can be used too: the probe decides. */
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
  p11KitProxy,
]

/**
 * The module's vendor, from the token's manufacturer, else from the file name; null when unknown. A module without a
 * manufacturer of its own (p11-kit's client shows other modules' tokens) is recognized by its file name first.
 */
export function vendorOf(modulePath: string, manufacturer: string | null): Vendor | null {
  const file = basename(modulePath)
  const isManufacturer = (vendor: Vendor): boolean =>
    manufacturer !== null && vendor.manufacturer?.test(manufacturer) === true
  const isFile = (vendor: Vendor): boolean => vendor.file.test(file)
  const nameless = vendors.find((vendor) => vendor.manufacturer === null && isFile(vendor))
  return nameless ?? vendors.find(isManufacturer) ?? vendors.find(isFile) ?? null
}

/** The vendor's hint for a failure; null where it has none. */
export function vendorHint(vendor: Vendor | null, failure: Failure): string | null {
  const fits = (when: Failure): boolean =>
    (when.method === undefined || when.method === failure.method) &&
    (when.ckr === undefined || when.ckr === failure.ckr) &&
    (when.code === undefined || when.code === failure.code)
  return vendor?.hints.find(({ when }) => fits(when))?.hint ?? null
}
