/** Where secrets must not be, by the name that a hit shows. */
export type Haystacks = ReadonlyMap<string, Buffer>

/** `SECRET in PLACE as FORM` for each secret that is anywhere, in any usual form. */
export function foundSecrets(haystacks: Haystacks, secrets: ReadonlyMap<string, Buffer>): string[] {
  const hits: string[] = []
  for (const [place, hay] of haystacks) {
    const lower = Buffer.from(hay.toString('latin1').toLowerCase(), 'latin1')
    for (const [name, secret] of secrets) {
      if (hay.includes(secret)) hits.push(`${name} in ${place} as it is`)
      if (lower.includes(secret.toString('hex'))) hits.push(`${name} in ${place} as hex`)
      for (const form of base64Forms(secret)) {
        if (hay.includes(form)) hits.push(`${name} in ${place} as base64`)
      }
    }
  }
  return hits
}

/** All binary values of an object, however deep. */
export function binaryValues(value: unknown): Buffer[] {
  if (value instanceof Uint8Array) return [Buffer.from(value)]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(binaryValues)
}

/** Base64 of the bytes wherever they begin in a longer text, without the digits that their neighbours share; both alphabets. */
function base64Forms(secret: Buffer): Set<string> {
  const forms = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), secret]).toString('base64')
    const cut = text.replace(/=+$/, '').slice(0, -1)
    return cut.slice(offset === 0 ? 0 : offset + 1)
  })
  return new Set(forms.flatMap((form) => [form, form.replaceAll('+', '-').replaceAll('/', '_')]))
}
