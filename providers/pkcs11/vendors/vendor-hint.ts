import { CkrError, type Fault } from '../wire/errors.ts'
import { vendorHint } from './catalogue.ts'
import type { Vendor } from './vendor.ts'

/** Unspecific codes: the vendor's hint replaces ours. For other codes it is appended to ours. */
const vague = new Set<Fault['code']>(['hsm-failed', 'hsm-away'])

/** Adds to a lane's failure what the vendor's module usually means by it. */
export function withVendorHint(fault: Fault, error: unknown, vendor: Vendor | null): Fault {
  const answer = error instanceof CkrError ? { method: error.method, ckr: error.ckr } : {}
  const added = vendorHint(vendor, { code: fault.code, ...answer })
  if (added === null) return fault
  const { hint } = fault
  const replaces = hint === undefined || vague.has(fault.code)
  return { ...fault, hint: replaces ? added : `${hint}; ${added}` }
}
