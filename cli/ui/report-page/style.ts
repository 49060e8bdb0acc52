/** The style of the page: light or dark as the reader's system says, black on white in print. */
export const style = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #59636e; --line: #d1d9e0; --mark: #0969da;
  --good: #1a7f37; --bad: #cf222e; --warn: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #9198a1; --line: #3d444d;
  --mark: #4493f8; --good: #3fb950; --bad: #f85149; --warn: #d29922 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.5rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: 0 0 .25rem }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line) }
p { margin: .25rem 0 }
.faint, figcaption { color: var(--faint) }
.completed { color: var(--good) } .failed { color: var(--bad) } .other { color: var(--warn) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--faint); padding: .25rem 0 }
th, td { text-align: left; vertical-align: top; padding: .2rem .75rem .2rem 0; border-bottom: 1px solid var(--line) }
thead th { color: var(--faint); font-weight: 600 }
.number { text-align: right }
code { font: 13px ui-monospace, monospace }
figure { margin: .5rem 0 }
svg { width: 100%; height: auto; display: block }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif }
.area { fill: var(--mark); fill-opacity: .3; stroke: var(--mark); stroke-width: 1.5 }
.grid { stroke: var(--line) }
@page { margin: 15mm }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --faint: #444; --line: #bbb; --mark: #0a58b0; --good: #000; --bad: #000; --warn: #000 }
  body { max-width: none; padding: 0; font-size: 10pt }
  .scroll { overflow: visible }
  h2 { break-after: avoid } tr, figure { break-inside: avoid } thead { display: table-header-group }
}
`
