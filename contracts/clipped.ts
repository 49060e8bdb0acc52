/** The text, or its beginning and how long it was: what was read from outside may have any length. */
export function clipped(text: string, most = 64): string {
  if (text.length <= most) return text
  // Never half a character.
  const kept = text.slice(0, most).replace(/[\uD800-\uDBFF]$/, '')
  return `${kept}… (${text.length} characters)`
}
