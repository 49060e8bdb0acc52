/** Crypt calls of a rotation, reserved in its document before they are made. A crash forfeits what was reserved. */
export interface HsmBudget {
  /** How many of `envelopes` may be wrapped; fewer when the rest of the budget does not reach, 0 when it is spent. */
  admit(envelopes: number): Promise<number>
  /** Calls that were really made; what is left of the reservation serves the next page. */
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
      // Refused whole, it is asked for in halves, so that the end of a budget is used to a few calls.
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
