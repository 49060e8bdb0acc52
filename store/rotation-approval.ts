import type { ApprovalSubject } from '../contracts/approvals.ts'
import type { RotateInput } from '../contracts/rotation.ts'

export type RotationOptions = Pick<
  RotateInput,
  'from' | 'to' | 'check' | 'priority' | 'maxHsmCalls'
>

/** What a rotation needs approvals for. Its rate and page size are not part of it: they may change while it runs. */
export function rotationSubject(options: RotationOptions): ApprovalSubject {
  const { from, to, check, priority = 'rotation', maxHsmCalls } = options
  return {
    action: 'rotate',
    subject: `v${to}`,
    options: { check, from, maxHsmCalls, priority, to },
  }
}
