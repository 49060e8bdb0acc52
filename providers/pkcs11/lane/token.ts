import { KeyturnError } from '../../../contracts/errors.ts'
import type { Pkcs11Config } from '../../../contracts/settings.ts'
import { call, type Cryptoki, type Handle } from './driver.ts'
import { CkrError } from '../wire/errors.ts'
import type { TokenName } from '../wire/messages.ts'

/** A token as a lane sees it. `maxSessions` null: no limit, or the token does not report one. */
export interface Token {
  slot: Handle
  name: TokenName
  flags: number
  maxSessions: number | null
}

/** Token flags of CK_TOKEN_INFO (PKCS#11 v3.1, table 7). */
export const tokenFlags = {
  TOKEN_INITIALIZED: 0x400,
  USER_PIN_COUNT_LOW: 0x1_0000,
  USER_PIN_FINAL_TRY: 0x2_0000,
  USER_PIN_LOCKED: 0x4_0000,
} as const

/** CK_UNAVAILABLE_INFORMATION (~0, which pkcs11js cuts to 32 bits) and openCryptoki's value (~0 - 1) mean no limit. */
const NO_LIMIT = 0x8000_0000

/**
 * Finds the one token that the configuration names. Slots whose token does not answer are ignored if it is found. Throws
 * token-not-found, naming the tokens that were found and the slots that did not answer, or token-ambiguous.
 */
export function findToken(cryptoki: Cryptoki, wanted: Pkcs11Config['token']): Token {
  const tokens: Token[] = []
  const silent: string[] = []
  for (const slot of call('C_GetSlotList', () => cryptoki.C_GetSlotList(true))) {
    try {
      tokens.push(describe(cryptoki, slot))
    } catch (error) {
      if (!(error instanceof CkrError)) throw error
      silent.push(`slot ${slotNumber(slot)}: ${error.message}`)
    }
  }
  const found = tokens.filter((token) => matches(token, wanted))
  const first = found[0]
  if (first === undefined) throw notFound(tokens, silent, wanted)
  if (!found.every((other) => sameToken(first, other))) {
    throw new KeyturnError(
      'token-ambiguous',
      `${found.length} tokens with ${describeWanted(wanted)}: ${found.map(describeToken).join('; ')}`,
      { hint: 'select one with kek.pkcs11.token_serial or slot' },
    )
  }
  return first
}

function notFound(
  tokens: readonly Token[],
  silent: readonly string[],
  wanted: Pkcs11Config['token'],
): KeyturnError {
  const named = tokens
    .filter((token) => token.flags & tokenFlags.TOKEN_INITIALIZED)
    .map(describeToken)
  const there =
    named.length === 0 ? 'the module shows no token at all' : `there are: ${named.join('; ')}`
  const rest = silent.length === 0 ? '' : `; no answer from ${silent.join('; ')}`
  return new KeyturnError('token-not-found', `no token with ${describeWanted(wanted)}`, {
    hint: there + rest,
  })
}

function describe(cryptoki: Cryptoki, slot: Handle): Token {
  const info = call('C_GetTokenInfo', () => cryptoki.C_GetTokenInfo(slot))
  const { major, minor } = info.firmwareVersion
  const max = info.maxRwSessionCount
  return {
    slot,
    name: {
      label: trim(info.label),
      serial: trim(info.serialNumber),
      manufacturer: trim(info.manufacturerID),
      model: trim(info.model),
      firmware: `${major}.${minor}`,
    },
    flags: info.flags,
    maxSessions: max === 0 || max >= NO_LIMIT ? null : max,
  }
}

function matches({ slot, name }: Token, wanted: Pkcs11Config['token']): boolean {
  if (wanted.slot !== undefined && slotNumber(slot) !== wanted.slot) return false
  return (['label', 'serial', 'manufacturer', 'model'] as const).every(
    (part) => wanted[part] === undefined || wanted[part] === name[part],
  )
}

/**
 * Whether two slots show one token: Fortanix shows one in 32 slots, so equal serial, label, manufacturer and model join
 * them. An empty or all-zero serial names nothing (NSS gives sixteen zeros to both of its slots).
 */
export function sameToken(a: Token, b: Token): boolean {
  if (a.slot.equals(b.slot)) return true
  if (/^0*$/.test(a.name.serial)) return false
  return (['serial', 'label', 'manufacturer', 'model'] as const).every(
    (part) => a.name[part] === b.name[part],
  )
}

function slotNumber(slot: Handle): number {
  return Number(slot.readBigUInt64LE())
}

function describeToken(token: Token): string {
  return `"${token.name.label}" (serial ${token.name.serial}, slot ${slotNumber(token.slot)})`
}

function describeWanted(wanted: Pkcs11Config['token']): string {
  return (['slot', 'label', 'serial', 'manufacturer', 'model'] as const)
    .filter((part) => wanted[part] !== undefined)
    .map((part) =>
      part === 'slot' ? `slot ${wanted.slot ?? ''}` : `${part} "${wanted[part] ?? ''}"`,
    )
    .join(', ')
}

/** Cryptoki pads its strings with blanks; some modules with zeros. */
function trim(text: string): string {
  return text.replace(/[\s\0]+$/, '')
}
