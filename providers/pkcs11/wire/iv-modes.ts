import type { IvMode } from '../../../contracts/kek.ts'

/** The modes worth trying under a setting of `use_gcm_iv_from_hsm`, in this order. */
export function modesToTry(useGcmIvFromHsm: 'auto' | boolean): IvMode[] {
  if (useGcmIvFromHsm === 'auto')
    return ['caller', 'hsm-writes-iv', 'output-prefix', 'output-suffix']
  return [useGcmIvFromHsm ? 'hsm-writes-iv' : 'caller']
}
