import { KeyturnError } from '../../contracts/errors.ts'
import type { GcmProfile, ProbeReport } from '../../contracts/kek.ts'
import type { Pkcs11Config } from '../../contracts/settings.ts'
import { canaryAad } from '../../envelope/aad.ts'
import type { KekCeremony } from '../provider.ts'
import type { JobOptions } from './pool/job.ts'
import type { CeremonyRequest, ReplyTo } from './wire/messages.ts'
import { asBuffer } from './wire/packing.ts'
import { providerClosed } from './wire/errors.ts'
import type { LanePool } from './pool/pool.ts'
import { profileFrom } from './probe/failure.ts'
import { examinePool, probePool } from './probe/probe.ts'

/** The standard has no limit for CKA_LABEL, but some tokens cut it at 32 characters, which can make labels equal. */
const LONGEST_LABEL = 32

/** Key generation on a network HSM may be replicated before it answers. */
const patient: JobOptions = { urgent: true, deadlineMs: 60_000, patienceMs: 5_000 }

export function pkcs11Ceremony(
  pool: LanePool,
  { install, config }: { install: string; config: Pkcs11Config },
): KekCeremony {
  let known: GcmProfile | undefined
  const run = async <R extends CeremonyRequest>(request: R): Promise<ReplyTo<R>> =>
    (await pool.run(request, patient)).value
  const probe = async (signal?: AbortSignal): Promise<ProbeReport> => {
    const report = await probePool(pool, config, signal)
    if (report.usable) known = profileFrom(report)
    return report
  }
  return {
    probe,
    labelOf: (version) => checkedLabel(`${config.keyLabelPrefix}-v${version}`),
    generate: async (label, keyId, keystore) => {
      await run({ op: 'generate', label: checkedLabel(label), keyId, keystore: keystore ?? null })
    },
    find: async (label, keyId) => {
      const found = await run({ op: 'find', label, keyId })
      return { keyId: found.keyId === null ? null : asBuffer(found.keyId) }
    },
    examine: async (label, keyId) => {
      const found = await run({ op: 'find', label, keyId })
      const report = await examinePool(pool, config, { label, keyId })
      return { ...report, warnings: [...report.warnings, ...found.warnings] }
    },
    makeCanary: async (version, label, keyId, gcm) => {
      const aad = canaryAad(install, version)
      const made = await run({ op: 'make-canary', label, keyId, gcm, canaryAad: aad })
      return {
        dekIv: asBuffer(made.dekIv),
        dekWrapped: asBuffer(made.dekWrapped),
        digest: asBuffer(made.digest),
      }
    },
    opensCanary: async (label, keyId, { version, gcm, canary }) => {
      const aad = canaryAad(install, version)
      return run({ op: 'opens-canary', label, keyId, gcm, canary, canaryAad: aad })
    },
    destroy: async (label, keyId, kek) => {
      const proof = kek && {
        version: kek.version,
        gcm: kek.gcm,
        canary: kek.canary,
        canaryAad: canaryAad(install, kek.version),
      }
      const { destroyed } = await run({ op: 'destroy', label, keyId, proof: proof ?? null })
      return destroyed ? 'destroyed' : 'absent'
    },
    gcmProfile: async () => {
      if (pool.closed) throw providerClosed()
      return (known ??= profileFrom(await probe()))
    },
  }
}

function checkedLabel(label: string): string {
  if (label.length <= LONGEST_LABEL) return label
  throw new KeyturnError('usage', `the key label "${label}" has more than 32 characters`, {
    hint: 'shorten kek.pkcs11.key_label_prefix',
  })
}
