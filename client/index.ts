/**
 * What a program that operates Keyturn imports as `keyturn/client`: one function for each command of the CLI. A function
 * takes the configuration, opens what it needs, and throws a `KeyturnError`.
 */
export { loadConfig } from '../config/load-config.ts'
export { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
export type { Config } from '../contracts/settings.ts'

export { setup, type AskChange, type BuildRouting, type SetupReport } from './setup.ts'
export { relocate } from './relocate.ts'
export type { CanaryCheck, Declaring, Relocation, RelocationReport } from './relocate.ts'
export { examine } from './doctor/examine.ts'
export type { Check } from './doctor/check.ts'

export { installKek, type RegisteredKey } from './install.ts'
export type { InstallResult } from '../contracts/install.ts'
export { verifyFleet, type Verification } from './verify.ts'
export { changeRoster, readNodes } from './nodes.ts'
export type { FleetNode, ReadinessReport } from '../contracts/fleet.ts'

export { planRotation, type TimeEnvelopes } from './plan.ts'
export { rotate, type RotateRequest, type RotationAnswer, type RotationReply } from './rotate.ts'
export { cancelRotation, resumeRotation, steer } from './steer.ts'
export type { RotateResult, RotationProgress } from '../contracts/rotation.ts'
export type { RotationPlan } from '../contracts/rotation-plan.ts'

/** To follow a rotation that another process started: `liveRotation` finds it. */
export { followRotation, type Follower } from './follow.ts'
export { liveRotation, type LiveRotation } from './temporal/live-rotation.ts'
export { withTemporal, type TemporalLink } from './temporal/connection.ts'
export { requireInstalled, withKeystore, type Keystore } from './keystore.ts'
export type { InstallIdentity } from '../contracts/names.ts'

export { removeKek, type OnNote } from './remove.ts'
export { previewRemoval } from './preview-removal.ts'
export type { RemovalReply, RemoveRequest } from './removal-reply.ts'
export { undoRemoval } from './undo-removal.ts'

export { setPolicy, type PolicyRequest } from './policy/set.ts'
export { showPolicy } from './policy/show.ts'
export { continuePolicy, deletePolicy, runPolicy, suspendPolicy } from './policy/steer.ts'

export { readQuarantine } from './quarantine/list.ts'
export { releaseQuarantine, type Selection } from './quarantine/release.ts'
export { retryQuarantine, type RetryView } from './quarantine/retry.ts'
export { scanQuarantine } from './quarantine/scan.ts'

export { readStatus } from './status.ts'
export { checkAudit, type AuditCheck, type KnownHead } from './audit/check.ts'
export { exportAudit, type ExportFormat } from './audit/export.ts'
export { auditHead } from './audit/head.ts'
export { readAudit, type AuditView } from './audit/read.ts'
export type { SignedHead } from '../contracts/audit.ts'
export type { ReportView } from '../contracts/report.ts'
export { readReport } from './views/report.ts'
export { scan, type Opening } from './views/scan.ts'
export type {
  PolicyView,
  QuarantineScanView,
  QuarantineView,
  RemovalView,
  ScanView,
  StatusView,
} from '../contracts/views.ts'
