import { Presets, SingleBar } from 'cli-progress'
import type { RotationProgress } from '../../contracts/rotation.ts'
import { errorColours } from './colours.ts'
import { count, seconds } from './figures.ts'
import { note, onTerminal } from './output.ts'
import { RateMeter, Standstill } from './rate-meter.ts'

/** Shows a rotation while it runs, on stderr. */
export interface ProgressView {
  show(progress: RotationProgress): void
  /** Prints a line without damaging the bar. */
  print(line: string): void
  end(): void
}

/** A redrawn bar with rate and ETA on a terminal; elsewhere one plain line for each change. */
export function openProgress(): ProgressView {
  return onTerminal() ? new BarView() : new LineView()
}

class BarView implements ProgressView {
  private readonly meter = new RateMeter()
  private readonly standstill = new Standstill()
  private readonly bar = new SingleBar(
    {
      format: '{phase} {bar} {percentage}% {figures}',
      barsize: 24,
      hideCursor: true,
      clearOnComplete: true,
      stream: process.stderr,
      linewrap: false,
      gracefulExit: false,
    },
    Presets.shades_classic,
  )
  private started = false

  show(progress: RotationProgress): void {
    const done = doneOf(progress)
    const total = Math.max(progress.total, done, 1)
    const payload = { phase: phaseOf(progress).padEnd(9), figures: this.figures(progress, done) }
    if (!this.started) this.bar.start(total, done, payload)
    this.started = true
    this.bar.setTotal(total)
    this.bar.update(progress.total === 0 ? 0 : done, payload)
  }

  print(line: string): void {
    if (this.started) this.bar.stop()
    this.started = false
    note(line)
  }

  end(): void {
    if (this.started) this.bar.stop()
  }

  private figures(progress: RotationProgress, done: number): string {
    const since = this.standstill.since(`${progress.phase} ${done}`)
    const still = since === null ? '' : `stands still since ${since.toISOString()}`
    const [waitsFor] = progress.awaiting
    if (waitsFor !== undefined) {
      return errorColours().dim([`waits for ${waitsFor}`, still].filter(Boolean).join(', '))
    }
    const rate = this.meter.rate(done, progress.phase)
    const ofAll = `${count(done)}/${count(progress.total)}`
    if (still !== '') return `${ofAll}, ${still}: keyturn status and the workers' logs say why`
    const left = progress.total - done
    const eta = rate > 0 && left > 0 ? `, ${seconds(left / rate)} left` : ''
    return `${ofAll}, ${count(rate)}/s${eta}`
  }
}

/** For logs and pipes: a line for each change of the phase, the pause or the wait, and at each tenth of the envelopes. */
class LineView implements ProgressView {
  private readonly meter = new RateMeter()
  private readonly standstill = new Standstill()
  private last = ''
  private readonly printed = new Set<string>()

  show(progress: RotationProgress): void {
    const done = doneOf(progress)
    const rate = this.meter.rate(done, progress.phase)
    const tenths = progress.total === 0 ? 0 : Math.floor((10 * done) / progress.total)
    const [waitsFor] = progress.awaiting
    const since = this.standstill.since(`${progress.phase} ${done}`)
    const still = since === null ? '' : `, stands still since ${since.toISOString()}`
    const isNewWait = this.isNew(waitsFor)
    const state = [phaseOf(progress), tenths, waitsFor === undefined ? '' : 'waits', still].join()
    if (state === this.last && !isNewWait) return
    this.last = state
    const speed = rate > 0 ? `, ${count(rate)}/s` : ''
    const figures = `${count(done)} of ${count(progress.total)} envelopes${speed}`
    const what = waitsFor === undefined ? figures : `waits for ${waitsFor}`
    note(`${phaseOf(progress)}: ${what}${still}`)
  }

  /** Whether this wait was not printed yet; its figures are ignored. */
  private isNew(waitsFor: string | undefined): boolean {
    if (waitsFor === undefined) this.printed.clear()
    const kind = waitsFor?.replace(/\d+/g, '') ?? null
    if (kind === null || this.printed.has(kind)) return false
    this.printed.add(kind)
    return true
  }

  print(line: string): void {
    note(line)
  }

  end(): void {
    // Nothing to restore: each line is complete.
  }
}

function phaseOf({ phase, pauses, paused }: RotationProgress): string {
  if (!paused) return phase
  const by = pauses.filter((cause) => cause !== 'operator')
  return by.length === 0 ? 'paused' : `paused (${by.join(', ')})`
}

function doneOf({ rewrapped, superseded, quarantined }: RotationProgress): number {
  return rewrapped + superseded + quarantined
}
