import { visible } from '../visible.ts'

/** A piece of HTML whose values are escaped. Only `markup` makes one, so no text reaches a page unescaped. */
export interface Markup {
  readonly html: string
}

type Value = Markup | string | number | null | readonly Markup[]

const references: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Template tag: values become text, safe in an element and in a quoted attribute; null becomes nothing. */
export function markup(strings: TemplateStringsArray, ...values: readonly Value[]): Markup {
  const parts = strings.map((string, index) => string + htmlOf(values[index] ?? null))
  return { html: parts.join('') }
}

function htmlOf(value: Value): string {
  if (value === null) return ''
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') return escaped(value)
  if ('html' in value) return value.html
  return value.map(({ html }) => html).join('')
}

function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (character) => references[character] ?? '')
}
