/**
 * Reads BSON values whether the driver promoted them to JavaScript's own or left them as its classes. Classes are
 * recognised by `_bsontype`, which all major versions of the driver have, because `instanceof` fails across two copies.
 */

interface Tagged {
  readonly _bsontype: string
}

function tagOf(value: object): string | null {
  const tag = (value as Partial<Tagged>)._bsontype
  return typeof tag === 'string' ? tag : null
}

/** An integral number of any BSON number type; null for everything else, also beyond 2^53. */
export function asInteger(value: unknown): number | null {
  const number = asNumber(value)
  return number !== null && Number.isSafeInteger(number) ? number : null
}

function asNumber(value: unknown): number | null {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  if (typeof value !== 'object' || value === null) return null
  switch (tagOf(value)) {
    case 'Int32':
    case 'Double':
      return Number((value as { value: unknown }).value)
    case 'Long':
      return (value as { toNumber(): number }).toNumber()
    case 'Decimal128':
      return decimalInteger((value as { toString(): string }).toString())
    default:
      return null
  }
}

/** The exact integer of a Decimal128's text (`1`, `1.0`, `1E+2`, `NaN`), else NaN. */
function decimalInteger(text: string): number {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]?\d+))?$/.exec(text) ?? []
  const digits = `${whole}${fraction}`.replace(/^0+/, '')
  if (whole === '') return NaN
  if (digits === '') return 0
  const zeros = Number(exponent) - fraction.length
  const kept = zeros < 0 ? digits.slice(0, zeros) : digits
  const isIntegral = zeros >= 0 || /^0*$/.test(digits.slice(zeros))
  // Longer ones are beyond 2^53.
  if (!isIntegral || kept.length + Math.max(0, zeros) > 16) return NaN
  return Number(`${sign}${kept}${'0'.repeat(Math.max(0, zeros))}`)
}

/** Binary of subtype 0 as a Buffer over the same memory; null for everything else, other subtypes too. */
export function asBinary(value: unknown): Buffer | null {
  if (value instanceof Uint8Array) return viewOf(value)
  if (typeof value !== 'object' || value === null || tagOf(value) !== 'Binary') return null
  const binary = value as { sub_type: number; buffer: Uint8Array; position: number }
  if (binary.sub_type !== 0) return null
  return viewOf(binary.buffer.subarray(0, binary.position))
}

/** A sub-document's members; null for scalars, arrays and BSON's own classes. */
export function asDocument(value: unknown): Readonly<Record<string, unknown>> | null {
  if (value instanceof Map) return Object.fromEntries(value) as Record<string, unknown>
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  if (value instanceof Uint8Array || value instanceof Date || tagOf(value) !== null) return null
  return value as Record<string, unknown>
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
