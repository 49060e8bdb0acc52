import { createDecipheriv } from 'node:crypto'
import type { IvMode } from '../../../contracts/kek.ts'
import { readAs, TAG_BYTES, type RawWrap } from './gcm.ts'

/** Bytes of a random IV take nearly all values in so many wraps; those of a count or of a fixed part take few. */
const FEW_VALUES = 32

/** Whether `wrapped` (ciphertext and tag) under this key and IV is `plain`: what the token did, seen without it. */
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
 * Whether a wrap that was made as this mode calls it, under a key whose value is known, is AES-GCM with its IV where the
 * mode has it.
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
 * Where the IV stands in outputs that are longer than ciphertext and tag, by what varies in many wraps of the same bytes:
 * ciphertext and tag look random whatever the IV is, an IV that counts does not. Null where both ends look random.
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
