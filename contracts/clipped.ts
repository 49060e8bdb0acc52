/** The text, or its beginning and its length, because external text may have any length. */
export function clipped(text: string, most = 64): string {
  if (text.length <= most) return text
  // Never splits a surrogate pair.
  const kept = text.slice(0, most).replace(/[\uD800-\uDBFF]$/, '')
  return `${kept}… (${text.length} characters)`
}
