import Table from 'cli-table3'
import { colours } from './colours.ts'

const noBorders = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
}

/** Columns without lines around them, so that `awk` and eyes read them alike. Numbers stand on the right. */
export function table(head: string[], rows: (string | number | null)[][]): string {
  const { dim } = colours()
  const cells = rows.map((row) => row.map((cell) => (cell === null ? '-' : String(cell))))
  const right = head.map((_, column) => rows.every((row) => typeof row[column] === 'number'))
  const drawn = new Table({
    head: head.map((title) => dim(title)),
    chars: noBorders,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: right.map((isNumber) => (isNumber && rows.length > 0 ? 'right' : 'left')),
  })
  drawn.push(...cells)
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}
