import type { ApprovalSubject } from '../contracts/approvals.ts'
import type { PolicyRules } from '../contracts/policy.ts'

/** What a policy needs the approvals of a rotation for: all its rules. They count for the rotations that its runs plan. */
export function policySubject(rules: PolicyRules): ApprovalSubject {
  return { action: 'rotate', subject: 'policy', options: { ...rules } }
}
