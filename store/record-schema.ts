import { z } from 'zod'

/**
 * What a rotation's row keeps for its report, `record`: no decision reads it, so it is checked only when a report is made. It is
 * bounded, so that the row stays far below the 16 MB of a document: about 350 kB for a thousand processes and a hundred
 * collections.
 */

const text = z.string()
const count = z.int().min(0)

/** Envelopes of a field: under the rotation's two versions, under others, odd ones. Quarantined ones are included. */
const fieldSchema = z.object({
  collection: text.nullable(),
  field: text.nullable(),
  from: count,
  to: count,
  other: count,
  odd: count,
})

/** `loaded`: which of the rotation's two versions. `software`: null if the process does not report it. */
const processSchema = z.object({
  node: text,
  pid: count,
  role: z.enum(['worker', 'app']),
  live: z.boolean(),
  current: count.nullable(),
  epoch: count.nullable(),
  loaded: z.array(count),
  software: text.nullable(),
})

/** `more`: processes beyond the limit. */
const fleetSchema = z.object({ at: z.date(), processes: z.array(processSchema), more: count })

/** `envelopes`: processed until then. */
const sampleSchema = z.object({ at: z.date(), envelopes: count, hsm_calls: count })

/** Envelopes in quarantine with the same reason; `message` is that of one of them. */
const reasonSchema = z.object({
  collection: text,
  field: text,
  code: text,
  message: text,
  envelopes: count,
})

export const recordSchema = z.object({
  record: z
    .object({
      before: z.array(fieldSchema).optional(),
      after: z.array(fieldSchema).optional(),
      fleet_at_promote: fleetSchema.optional(),
      fleet_at_settle: fleetSchema.optional(),
      samples: z.array(sampleSchema).optional(),
      quarantine: z.array(reasonSchema).optional(),
    })
    .optional(),
})

export type RecordDoc = NonNullable<z.infer<typeof recordSchema>['record']>
export type RecordedField = z.infer<typeof fieldSchema>
export type RecordedFleet = z.infer<typeof fleetSchema>
export type RecordedReason = z.infer<typeof reasonSchema>
