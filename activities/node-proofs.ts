import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { KeyturnError } from '../contracts/errors.ts'
import type { NotReadyReason } from '../contracts/fleet.ts'
import type { MemberState } from '../keyring/membership.ts'
import { reasonOf } from '../keyring/failed-keys.ts'
import { canaryAad } from '../envelope/aad.ts'
import { serverNow } from '../store/store.ts'
import type { ActivityDeps } from './deps.ts'
import type { Nonce, Proof } from './fleet.ts'

/** Length of the nonce that one node wraps and another opens, in bytes; that of a DEK. */
const nonceLength = 32

/** Questions to one host: they run on the queue of this node, so the answer is this host's own. */
export function nodeActivities({ config, member, node, provider, store }: ActivityDeps) {
  const { install } = config
  return {
    async findMaterial({ version }: { version: number }) {
      const label = provider.ceremony.labelOf(version)
      try {
        await provider.ceremony.find(label, null)
        return { there: true, label }
      } catch (error) {
        if (error instanceof KeyturnError) return { there: false, label }
        throw error
      }
    },

    async proveVersion({ target }: { target: number }): Promise<Proof> {
      const { boot } = member
      const answer = { node, boot, pid: process.pid }
      try {
        await member.beat()
        requireNewest(member.state())
        // The beat has read the question and proven its version.
        requireLoaded(member.state().loaded, target)
        const nonce = await wrapNonce(target)
        return { ...answer, reason: null, provenAt: (await serverNow(store)).toISOString(), nonce }
      } catch (error) {
        const reason = shownReason(error, knownReason(member.state(), target))
        const provenAt = (await serverNow(store)).toISOString()
        return { ...answer, reason, provenAt, nonce: null }
      }
    },

    /** Whether this node's key of the same version opens what another node wrapped. */
    async openNonce({ target, nonce }: { target: number; nonce: Nonce }): Promise<boolean> {
      const sealed = {
        iv: Buffer.from(nonce.iv, 'base64'),
        wrapped: Buffer.from(nonce.wrapped, 'base64'),
        aad: canaryAad(install, target),
      }
      const [opened] = await provider.unwrap(target, [sealed])
      if (!Buffer.isBuffer(opened)) return false
      const digest = createHash('sha256').update(opened).digest()
      opened.fill(0)
      return timingSafeEqual(digest, Buffer.from(nonce.digest, 'hex'))
    },
  }

  async function wrapNonce(target: number): Promise<Nonce> {
    const dek = randomBytes(nonceLength)
    const digest = createHash('sha256').update(dek).digest('hex')
    const [wrap] = await provider.wrap(target, [{ dek, aad: canaryAad(install, target) }])
    dek.fill(0)
    if (wrap === undefined) throw new KeyturnError('cannot-encrypt', 'the provider wrapped nothing')
    return { iv: wrap.iv.toString('base64'), wrapped: wrap.wrapped.toString('base64'), digest }
  }
}

/** Why the version could not be loaded, or else why this process is degraded altogether. */
function knownReason({ notLoaded, degraded }: MemberState, target: number): NotReadyReason | null {
  const failed = notLoaded.find(({ version }) => version === target)
  return failed?.reason ?? degraded?.reason ?? null
}

/** A process that has seen a newer state of the keystore may not wrap, so it cannot prove a version. */
function requireNewest({ degraded }: MemberState): void {
  if (degraded?.reason !== 'keystore-older') return
  throw new KeyturnError('keystore-older', degraded.message)
}

function requireLoaded(loaded: readonly number[], target: number): void {
  if (loaded.includes(target)) return
  throw new KeyturnError('kek-not-loaded', `version ${target} is not loaded`)
}

/** The reason that `verify` shows for an error: its own, or the known one if the error has no specific reason. */
function shownReason(error: unknown, known: NotReadyReason | null): NotReadyReason {
  if (!(error instanceof KeyturnError)) return 'not-loaded'
  if (error.code === 'lease-expired' || error.code === 'keystore-older') return error.code
  const reason = reasonOf(error)
  return reason === 'not-loaded' ? (known ?? reason) : reason
}
