import { fail, ok, warn, type Check } from '../../client/doctor/check.ts'
import type { ProbeReport } from '../../contracts/kek.ts'

/** The result of a probe as checks of `doctor`: module, token, and the first failed phase or the AES-GCM profile. */
export function tokenChecks(report: ProbeReport): Check[] {
  return [moduleCheck(report), tokenCheck(report), probeCheck(report)]
}

function moduleCheck({ module, vendor }: ProbeReport): Check {
  if (vendor === null) {
    return warn('module', `${module}, which is not in the catalogue`, 'the probe alone decides')
  }
  const { name, caution, page } = vendor
  return caution === null
    ? ok('module', `${name}, see ${page}`)
    : warn('module', `${name}: ${caution}`, `see ${page}`)
}

function tokenCheck({ token, sessions, warnings }: ProbeReport): Check {
  const { label = '-', serial = '-' } = token ?? {}
  const limit = sessions.max === null ? 'no session limit' : `at most ${sessions.max} sessions`
  const said = `"${label}", serial ${serial}, ${limit}`
  return warnings.length === 0
    ? ok('token', said)
    : warn('token', warnings.join('; '), 'look at who uses this token, and at its keys')
}

function probeCheck({ phases, gcm, tamperCode }: ProbeReport): Check {
  const failed = phases.find((phase) => !phase.ok)
  if (failed !== undefined || gcm === null) {
    const { phase = 'probe', detail = 'no phase was run', error } = failed ?? {}
    const hint = error?.hint ?? 'see docs/hsm.md'
    return fail('probe', `${phase}: ${error?.message ?? detail}`, hint)
  }
  const iv = `IV by ${gcm.ivMode}, ${gcm.ivLength} bytes`
  return ok('probe', `AES-GCM, ${iv}; a wrong tag is refused with ${tamperCode ?? '-'}`)
}
