/**
 * Prints `N passed, M failed` over vitest's JSON reports, and ends with 1 when something failed or nothing passed. Arguments:
 * for each run the name of its report (.keyturn/NAME.json) and the exit code of vitest. A run without a report has failed.
 */
import { existsSync, readFileSync } from 'node:fs'

const totals = { passed: 0, failed: 0, skipped: 0 }
const runs = process.argv.slice(2)
for (let at = 0; at < runs.length; at += 2) add(runs[at], Number(runs[at + 1]))
if (totals.skipped > 0) console.log(`${totals.skipped} skipped`)
console.log(`${totals.passed} passed, ${totals.failed} failed`)
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0)

function add(name, code) {
  const file = `.keyturn/${name}.json`
  if (!existsSync(file)) {
    console.error(`vitest wrote no report "${name}"`)
    totals.failed += 1
    return
  }
  const report = JSON.parse(readFileSync(file, 'utf8'))
  // A file that fails outside of its tests counts as one failure, and so does an error outside of all files.
  const broken = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
  )
  totals.passed += report.numPassedTests
  totals.failed += Math.max(report.numFailedTests + broken.length, code === 0 ? 0 : 1)
  totals.skipped += report.numPendingTests
}
