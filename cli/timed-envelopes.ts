import type { TimeEnvelopes } from '../client/plan.ts'
import { loadableKeks } from '../client/views/opening.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { Config } from '../contracts/settings.ts'
import { timeSample } from '../sweep/time-sample.ts'
import { withLocalProvider } from './local-provider.ts'
import { note } from './ui/output.ts'

/** How many envelopes a dry run re-wraps in memory: enough to measure the token's speed, few enough for a quota. */
const sampleSize = 250

/** Times the sample with the keys of this host. A host without them prints a note, and the plan uses older figures. */
export function timedEnvelopes(config: Config): TimeEnvelopes {
  return async (keystore, { from, to, place }) => {
    try {
      return await withLocalProvider(config, async (provider) => {
        for (const kek of await loadableKeks(keystore)) {
          if (kek.version === from || kek.version === to) await provider.load(kek)
        }
        return timeSample({
          store: keystore.store,
          provider,
          install: config.install,
          collections: keystore.settings.collections,
          place,
          from,
          to,
          check: config.rewrap.check,
          size: sampleSize,
        })
      })
    } catch (error) {
      if (!(error instanceof KeyturnError)) throw error
      note(`this host cannot time its token: ${error.message}`)
      return null
    }
  }
}
