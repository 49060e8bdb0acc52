/**
 * Packs a batch into one Buffer: for each item its fields, each as a 16-bit big-endian length and the bytes. One Buffer
 * crosses the channel several times faster than thousands of small ones, and can be overwritten.
 */
export function pack(items: readonly (readonly Uint8Array[])[]): Buffer {
  let length = 0
  for (const item of items) for (const field of item) length += 2 + field.length
  const packed = Buffer.allocUnsafeSlow(length)
  let at = 0
  for (const item of items) {
    for (const field of item) {
      at = packed.writeUInt16BE(field.length, at)
      packed.set(field, at)
      at += field.length
    }
  }
  return packed
}

/** Rows of one to four fields. */
export interface Rows {
  1: [Buffer]
  2: [Buffer, Buffer]
  3: [Buffer, Buffer, Buffer]
  4: [Buffer, Buffer, Buffer, Buffer]
}

/** Unpacks the items, `width` fields each, as views of `packed`. Throws a RangeError when it is cut off. */
export function unpack<W extends keyof Rows>(packed: Buffer, width: W): Rows[W][] {
  const items: Rows[W][] = []
  let at = 0
  while (at < packed.length) {
    const item: Buffer[] = []
    for (let n = 0; n < width; n++) {
      const length = packed.readUInt16BE(at)
      at += 2
      if (at + length > packed.length) throw new RangeError('a packed batch is cut off')
      item.push(packed.subarray(at, at + length))
      at += length
    }
    items.push(item as Rows[W])
  }
  return items
}

/** A Buffer over the same memory as a Uint8Array from a structured clone. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
