import { createDecipheriv } from 'node:crypto'
import type { IvMode } from '../../../contracts/kek.ts'
import { readAs, TAG_BYTES, type RawWrap } from './gcm.ts'

/** Over many wraps a byte of a random IV takes more values than this; a byte of a counter or of a fixed part takes fewer. */
const FEW_VALUES = 32

/** Whether `wrapped` (ciphertext and tag) opens to `plain` under this key and IV, checked without the token. */
function opensTo(
  plain: Buffer,
  sealed: { iv: Buffer; wrapped: Buffer; aad: Buffer },
  key: Buffer,
): boolean {
  const { iv, wrapped, aad } = sealed
  const end = wrapped.length - TAG_BYTES
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES })
  decipher.setAAD(aad)
  decipher.setAuthTag(wrapped.subarray(end))
  try {
    return Buffer.concat([decipher.update(wrapped.subarray(0, end)), decipher.final()]).equals(
      plain,
    )
  } catch {
    return false
  }
}

/**
 * Whether a wrap in this mode, under a key with a known value, is AES-GCM with the IV where the mode expects it.
 */
export function isReadBy(
  mode: IvMode,
  raw: RawWrap,
  { plain, aad, key }: { plain: Buffer; aad: Buffer; key: Buffer },
): boolean {
  const read = readAs(mode, raw)
  return read !== null && opensTo(plain, { ...read, aad }, key)
}

/**
 * Where the IV is in outputs that are longer than ciphertext and tag, from what varies in many wraps of the same bytes:
 * ciphertext and tag always look random, a counting IV does not. Null when both ends look random.
 */
export function placeByVariation(
  outputs: readonly Buffer[],
): 'output-prefix' | 'output-suffix' | null {
  const count = (mode: IvMode): number => {
    const ivs = outputs.map((output) => readAs(mode, { given: none, after: none, output })?.iv)
    const length = ivs[0]?.length ?? 0
    return Array.from({ length }, (_, at) => new Set(ivs.map((iv) => iv?.[at])).size).filter(
      (values) => values <= FEW_VALUES,
    ).length
  }
  const few = { prefix: count('output-prefix'), suffix: count('output-suffix') }
  if (few.prefix > 0 && few.suffix === 0) return 'output-prefix'
  return few.suffix > 0 && few.prefix === 0 ? 'output-suffix' : null
}

const none = Buffer.alloc(0)
