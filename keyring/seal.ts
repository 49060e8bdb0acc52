import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import { dataAad, dekAad } from '../envelope/aad.ts'
import { sealData } from '../envelope/data.ts'
import { envelopeFormat, type Envelope } from '../envelope/envelope.ts'
import type { Place } from '../envelope/place.ts'
import { idBytes } from '../envelope/record-id.ts'
import type { KekProvider, Wrapped } from '../providers/provider.ts'
import type { FleetMember } from './membership.ts'
import { leaseExpired } from './held-lease.ts'

export interface SealRequest {
  /** A string is sealed as UTF-8. */
  readonly plaintext: Uint8Array | string
  readonly place: Place
}

export interface KeyringParts {
  readonly install: string
  readonly provider: KekProvider
  readonly member: FleetMember
}

/** DEK bytes, AES-256. */
const dekLength = 32
/** How often a wrap is tried when the lease ends, or the version switches, while it is made. */
const wrapAttempts = 3

interface SealedField {
  place: Place
  id: Buffer
  dek: Buffer
  iv: Buffer
  ciphertext: Buffer
}

/** Seals each under its own fresh DEK, and wraps all DEKs in one call. DEKs are always overwritten. */
export async function sealAll(
  parts: KeyringParts,
  requests: readonly SealRequest[],
): Promise<Envelope[]> {
  if (requests.length === 0) return []
  const fields: SealedField[] = []
  try {
    for (const request of requests) fields.push(sealField(parts.install, request))
    const { version, wraps } = await wrapAll(parts, fields)
    return fields.map(({ iv, ciphertext }, index) => {
      const wrap = wraps[index]
      if (wrap === undefined) throw new Error('the provider returned fewer wraps than it was given')
      const { name: provider } = parts.provider
      return {
        format: envelopeFormat,
        kek_version: version,
        provider,
        dek_iv: wrap.iv,
        dek_wrapped: wrap.wrapped,
        iv,
        ciphertext,
      }
    })
  } finally {
    for (const { dek } of fields) dek.fill(0)
  }
}

function sealField(install: string, { plaintext, place }: SealRequest): SealedField {
  const id = idBytes(place.id)
  const bytes = typeof plaintext === 'string' ? Buffer.from(plaintext, 'utf8') : plaintext
  // Not from Node's shared pool, which only allocUnsafe uses: no other data lies beside a DEK.
  const dek = randomBytes(dekLength)
  try {
    const aad = dataAad(install, place.collection, place.field, id)
    return { place, id, dek, ...sealData(dek, bytes, aad) }
  } catch (error) {
    dek.fill(0)
    throw error
  } finally {
    if (bytes !== plaintext) bytes.fill(0)
  }
}

/**
 * Checks lease and proof right before the wrap and again after it. If the process was frozen in between, or another version
 * became active, the wrap is discarded and made again.
 */
async function wrapAll(
  { install, provider, member }: KeyringParts,
  fields: readonly SealedField[],
): Promise<{ version: number; wraps: Wrapped[] }> {
  for (let attempt = 0; attempt < wrapAttempts; attempt += 1) {
    await member.requireLease()
    const version = activeVersion(member)
    const deks = fields.map(({ place: { collection, field }, id, dek }) => ({
      dek,
      aad: dekAad(install, collection, field, id, version),
    }))
    const wraps = await provider.wrap(version, deks)
    member.countWraps(version, wraps.length)
    const { active, leaseOk } = member.state()
    if (leaseOk && active?.version === version && isStillProven(member, version)) {
      return { version, wraps }
    }
  }
  throw leaseExpired('young')
}

/** Checks the proof again: the key may have been replaced while the process was frozen. */
function isStillProven(member: FleetMember, version: number): boolean {
  try {
    member.assertLease(version)
    return true
  } catch (error) {
    if (error instanceof KeyturnError && error.code === 'lease-expired') return false
    throw error
  }
}

function activeVersion(member: FleetMember): number {
  const { active } = member.state()
  if (active === null) throw new Error('a member with a lease has an active version')
  return active.version
}
