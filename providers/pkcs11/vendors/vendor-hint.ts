import { CkrError, type Fault } from '../wire/errors.ts'
import { vendorHint } from './catalogue.ts'
import type { Vendor } from './vendor.ts'

/** Codes that say little by themselves: there the vendor's advice stands in place of ours, elsewhere behind it. */
const vague = new Set<Fault['code']>(['hsm-failed', 'hsm-away'])

/** A failure of a lane with what the module's vendor is known to mean by it. */
export function withVendorHint(fault: Fault, error: unknown, vendor: Vendor | null): Fault {
  const answer = error instanceof CkrError ? { method: error.method, ckr: error.ckr } : {}
  const say = vendorHint(vendor, { code: fault.code, ...answer })
  if (say === null) return fault
  const { hint } = fault
  return { ...fault, hint: hint === undefined || vague.has(fault.code) ? say : `${hint}; ${say}` }
}
