/**
 * C0 and C1 controls, marks of writing direction, line and paragraph separators, and halves of surrogate pairs: in a name they
 * could move the cursor, or show it in another order than it is.
 */
const unseen = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu

/** A text from the database as it is shown: characters that cannot be seen as escapes, `\u202e`. */
export function visible(text: string): string {
  return text.replace(unseen, (character) => {
    return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
}
