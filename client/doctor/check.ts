/** One line of `doctor`. */
export interface Check {
  check: string
  state: 'ok' | 'warn' | 'fail'
  detail: string
  /** The hint: what to do about it; null where nothing is wrong. */
  cure: string | null
}

export function ok(check: string, detail: string): Check {
  return { check, state: 'ok', detail, cure: null }
}

export function warn(check: string, detail: string, hint: string): Check {
  return { check, state: 'warn', detail, cure: hint }
}

export function fail(check: string, detail: string, hint: string): Check {
  return { check, state: 'fail', detail, cure: hint }
}
