/** Lengths of a wrapped DEK: a 32-byte key and a 16-byte tag; the IV has the length that the token chose. */
const WRAPPED_BYTES = 48
const LONGEST_IV = 16
const DEK_BYTES = 32

/** Why these bytes cannot be a wrapped DEK (or a DEK to wrap), or null. Checked without the KEK. */
export function malformedWrap(item: object): string | null {
  const { iv, wrapped, dek } = item as { iv?: Buffer; wrapped?: Buffer; dek?: Buffer }
  if (dek !== undefined) {
    return dek.length === DEK_BYTES ? null : `a DEK has ${DEK_BYTES} bytes, this one ${dek.length}`
  }
  if (wrapped?.length !== WRAPPED_BYTES) {
    return `a wrapped DEK has ${WRAPPED_BYTES} bytes, this one ${wrapped?.length ?? 0}`
  }
  const length = iv?.length ?? 0
  return length >= 1 && length <= LONGEST_IV ? null : `an IV has 1 to 16 bytes, this one ${length}`
}
