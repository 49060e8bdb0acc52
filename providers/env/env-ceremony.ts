import { createHash, randomBytes, type KeyObject } from 'node:crypto'
import { KeyturnError } from '../../contracts/errors.ts'
import type { GcmProfile, ProbeReport } from '../../contracts/kek.ts'
import { canaryAad } from '../../envelope/aad.ts'
import type { KekCeremony } from '../provider.ts'
import { openWith, sealWith } from './env-gcm.ts'

const gcm: GcmProfile = { ivMode: 'caller', ivLength: 12, tagBits: 128 }

interface EnvMaterial {
  install: string
  variablePrefix: string
  material: ReadonlyMap<number, KeyObject>
  requireOpen: () => void
}

/** Keys in environment variables are made by the operator: this only finds them, and never generates or destroys one. */
export function envCeremony(options: EnvMaterial): KekCeremony {
  const { install, variablePrefix, material, requireOpen } = options
  const labelOf = (version: number): string => `${variablePrefix}${version}`
  const versionOf = (label: string): number => Number(label.slice(variablePrefix.length))
  const require = (label: string): KeyObject => {
    requireOpen()
    const key = label.startsWith(variablePrefix) ? material.get(versionOf(label)) : undefined
    if (key === undefined) throw missing(label)
    return key
  }
  return {
    labelOf,
    probe: () => settle(requireOpen, () => report),
    generate: (label) => settle(requireOpen, () => refuse(`"${label}" cannot be generated`)),
    find: (label) =>
      settle(requireOpen, () => {
        require(label)
        return { keyId: null }
      }),
    examine: (label) =>
      settle(requireOpen, () => {
        require(label)
        return report
      }),
    makeCanary: (version, label) =>
      settle(requireOpen, () => {
        const secret = randomBytes(32)
        const { iv, wrapped } = sealWith(require(label), secret, canaryAad(install, version))
        const digest = createHash('sha256').update(secret).digest()
        secret.fill(0)
        return { dekIv: iv, dekWrapped: wrapped, digest }
      }),
    opensCanary: (label, _, kek) =>
      settle(requireOpen, () => {
        const { canary, version } = kek
        const [iv, wrapped] = [Buffer.from(canary.dekIv), Buffer.from(canary.dekWrapped)]
        const opened = openWith(require(label), iv, wrapped, canaryAad(install, version))
        opened?.fill(0)
        return opened !== null
      }),
    destroy: (label) =>
      settle(requireOpen, () => refuse(`"${label}" cannot be deleted by keyturn`)),
    gcmProfile: () => settle(requireOpen, () => gcm),
  }
}

export function materialMissing(variablePrefix: string, version: number): KeyturnError {
  return missing(`${variablePrefix}${version}`)
}

const report: ProbeReport = {
  module: 'node:crypto',
  token: null,
  vendor: null,
  warnings: [],
  phases: [],
  gcm,
  sessions: { max: null },
  tamperCode: null,
  tamper: null,
  usable: true,
}

function missing(variable: string): KeyturnError {
  return new KeyturnError('material-missing', `the variable "${variable}" is not set`, {
    hint: 'set it to 64 hex characters on every node (openssl rand -hex 32), then restart the processes there',
  })
}

function refuse(message: string): never {
  throw new KeyturnError('usage', message, {
    hint: 'keys of the env provider are made and deleted by setting and unsetting their variables',
  })
}

/** Runs `use` and turns its result or error into a promise. */
function settle<T>(requireOpen: () => void, use: () => T): Promise<T> {
  return new Promise((resolve) => {
    requireOpen()
    resolve(use())
  })
}
