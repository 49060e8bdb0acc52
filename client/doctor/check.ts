/** One line of `doctor`. */
export interface Check {
  check: string
  state: 'ok' | 'warn' | 'fail'
  detail: string
  /** What to do about it; null where nothing is wrong. */
  cure: string | null
}

export function ok(check: string, detail: string): Check {
  return { check, state: 'ok', detail, cure: null }
}

export function warn(check: string, detail: string, cure: string): Check {
  return { check, state: 'warn', detail, cure }
}

export function fail(check: string, detail: string, cure: string): Check {
  return { check, state: 'fail', detail, cure }
}
