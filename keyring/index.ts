/** What an application imports as `keyturn`. */
export { openKeyring, type Keyring, type KeyringOptions } from './keyring.ts'
export type { SealRequest } from './seal.ts'
export type { OpenRequest } from './open.ts'
export type { MemberEventName, MemberEvents, MemberListener } from './member-events.ts'
export type { Envelope } from '../envelope/envelope.ts'
export type { Place } from '../envelope/place.ts'
export { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
