import { z } from 'zod'
import { parseDuration } from './duration.ts'

/** A duration as `keyturn.yaml` writes it, in milliseconds. */
export const duration = z
  .string('must be a duration such as 30s, 24h or 90d')
  .transform((written, context) => {
    const milliseconds = parseDuration(written)
    if (milliseconds !== null) return milliseconds
    context.addIssue('must be a duration such as 30s, 24h or 90d')
    return z.NEVER
  })
