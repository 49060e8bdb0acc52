import { z } from 'zod'
import type { ApprovalRules } from '../contracts/settings.ts'
import { parseApproverKey } from './approver-key.ts'
import { duration } from './duration-schema.ts'

const longestName = 200
const [leastExpiry, mostExpiry] = [1_000, 365 * 86_400_000]

const number = z.int('must be a number from 0').min(0, 'must be a number from 0')

const approver = z.strictObject(
  {
    name: z
      .string('must be a text')
      .min(1, 'must not be empty')
      .max(longestName, `must have at most ${longestName} characters`)
      .regex(/^[^\p{C}\p{Zl}\p{Zp}]*$/u, 'has a character that cannot be shown')
      .refine((name) => name.trim() === name, 'begins or ends with white space'),
    key: z.string('is not a text').transform((written, context) => {
      const parsed = parseApproverKey(written)
      if ('raw' in parsed) return parsed.raw.toString('base64')
      context.addIssue(parsed.refusal)
      return z.NEVER
    }),
  },
  'must be a section with name and key',
)

/** The section `approvals`: who approves, and how many approvals each kind of action needs. */
export const approvalsSection = z
  .strictObject(
    {
      approvers: z
        .array(approver, 'must be a list')
        .max(1_000, 'must have at most 1000')
        .default([]),
      remove: number.default(0),
      rotate: number.default(0),
      settings: number.optional(),
      store: number.default(0),
      expires: duration.prefault('72h'),
    },
    'must be a section',
  )
  .superRefine((written, context) => {
    const refuse = (path: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path, message })
    const { approvers, expires } = written
    approvers.forEach(({ name, key }, at) => {
      const earlier = approvers.slice(0, at)
      if (earlier.some((other) => sameName(other.name, name))) {
        refuse(['approvers', at, 'name'], 'appears twice')
      }
      const same = earlier.find((other) => other.key === key)
      if (same !== undefined)
        refuse(['approvers', at, 'key'], `is the key of "${same.name}" already`)
    })
    for (const action of ['remove', 'rotate', 'settings', 'store'] as const) {
      if ((written[action] ?? 0) <= approvers.length) continue
      refuse([action], `must be at most the number of approvers (${approvers.length})`)
    }
    if (written.settings !== undefined && written.settings < largest(written)) {
      refuse(
        ['settings'],
        `must be at least ${largest(written)}, the largest of the others: it guards their change`,
      )
    }
    if (expires < leastExpiry || expires > mostExpiry) {
      refuse(['expires'], 'must be from 1s to 365d')
    }
  })
  .prefault({})

type Written = z.output<typeof approvalsSection>

/** The rules of a file, with every default filled in. */
export function approvalRules(written: Written): ApprovalRules {
  const { approvers, remove, rotate, settings, store, expires } = written
  return {
    approvers,
    remove,
    rotate,
    settings: settings ?? largest(written),
    store,
    expiresMs: expires,
  }
}

function largest({ remove, rotate, store }: Pick<Written, 'remove' | 'rotate' | 'store'>): number {
  return Math.max(remove, rotate, store)
}

function sameName(one: string, other: string): boolean {
  return one.normalize('NFC').toLowerCase() === other.normalize('NFC').toLowerCase()
}
