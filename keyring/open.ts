import { KeyturnError } from '../contracts/errors.ts'
import { dataAad, dekAad } from '../envelope/aad.ts'
import { openData } from '../envelope/data.ts'
import { parseEnvelope, type Envelope } from '../envelope/envelope.ts'
import type { Place } from '../envelope/place.ts'
import { idBytes } from '../envelope/record-id.ts'
import type { KeyringParts } from './seal.ts'

export interface OpenRequest {
  /** As read from the database, with promoted binaries and integers or not. */
  readonly envelope: unknown
  readonly place: Place
}

interface Parsed {
  index: number
  envelope: Envelope
  place: Place
  id: Buffer
}

/**
 * The plaintext or the error of each envelope, in the order of the requests. All envelopes of one version are unwrapped in
 * one call. A failure of the provider rejects the whole call, since it says nothing about the envelopes.
 */
export async function openAll(
  parts: KeyringParts,
  requests: readonly OpenRequest[],
): Promise<(Buffer | KeyturnError)[]> {
  const results: (Buffer | KeyturnError)[] = []
  const byVersion = new Map<number, Parsed[]>()
  for (const [index, request] of requests.entries()) {
    const parsed = caught(() => parse(parts, index, request))
    if (parsed instanceof KeyturnError) {
      results[index] = parsed
      continue
    }
    const version = parsed.envelope.kek_version
    byVersion.set(version, [...(byVersion.get(version) ?? []), parsed])
  }
  for (const [version, group] of byVersion) {
    const opened = await openGroup(parts, version, group)
    for (const [at, { index }] of group.entries()) {
      const result = opened[at]
      if (result !== undefined) results[index] = result
    }
  }
  return results
}

function parse({ provider }: KeyringParts, index: number, request: OpenRequest): Parsed {
  const envelope = parseEnvelope(request.envelope)
  if (envelope.provider !== provider.name) {
    throw new KeyturnError('wrong-provider', `the envelope is of provider "${envelope.provider}"`, {
      hint: `this keyring opens those of "${provider.name}"`,
    })
  }
  return { index, envelope, place: request.place, id: idBytes(request.place.id) }
}

async function openGroup(
  { install, provider, member }: KeyringParts,
  version: number,
  group: readonly Parsed[],
): Promise<(Buffer | KeyturnError)[]> {
  try {
    await member.requireVersion(
      version,
      group.map(({ place }) => place),
    )
  } catch (error) {
    if (error instanceof KeyturnError && error.code === 'kek-not-loaded') {
      return group.map(() => error)
    }
    throw error
  }
  const deks = await provider.unwrap(
    version,
    group.map(({ envelope, place: { collection, field }, id }) => ({
      iv: envelope.dek_iv,
      wrapped: envelope.dek_wrapped,
      aad: dekAad(install, collection, field, id, version),
    })),
  )
  try {
    return group.map(({ envelope, place: { collection, field }, id }, index) => {
      const dek = deks[index]
      if (dek === undefined) throw new Error('the provider returned fewer keys than it was given')
      if (!Buffer.isBuffer(dek)) return dek
      return caught(() => openData(dek, envelope, dataAad(install, collection, field, id)))
    })
  } finally {
    for (const dek of deks) if (Buffer.isBuffer(dek)) dek.fill(0)
  }
}

function caught<T>(run: () => T): T | KeyturnError {
  try {
    return run()
  } catch (error) {
    if (error instanceof KeyturnError) return error
    throw error
  }
}
