/** A rotation's limit of crypt calls. Calls are reserved in its document before they are made; a crash loses the reservation. */
export interface HsmBudget {
  /** How many of `envelopes` may be wrapped: fewer when the budget does not suffice, 0 when it is spent. */
  admit(envelopes: number): Promise<number>
  /** Reports the calls that were made; the rest of the reservation is kept for the next page. */
  spent(calls: number): void
}

/**
 * @param callsEach upper bound of the calls for one envelope: unwrap, wrap, check. A bad envelope needs no more: its
 * failed unwrap and the canary take the place of wrap and check.
 * @param reserve reserves that many calls for good, or answers false and reserves none.
 */
export function hsmBudget(
  max: number,
  callsEach: number,
  reserve: (calls: number) => Promise<boolean>,
): HsmBudget {
  let credit = 0
  return {
    async admit(envelopes) {
      if (max === 0) return envelopes
      let admitted = 0
      // If the reservation is refused, try half of it, so that only a few calls of the budget stay unused.
      for (let step = envelopes; step > 0; step = half(step, envelopes - admitted)) {
        const lacking = (admitted + step) * callsEach - credit
        if (lacking > 0 && !(await reserve(lacking))) continue
        credit += Math.max(0, lacking)
        admitted += step
      }
      return admitted
    },
    spent(calls) {
      if (max !== 0) credit -= calls
    },
  }
}

function half(step: number, rest: number): number {
  return Math.min(Math.floor(step / 2), rest)
}
