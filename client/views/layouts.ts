import { sampleWraps, type SampledWrap } from '../../store/sample-wraps.ts'
import type { Keystore } from '../keystore.ts'

/** Records that `doctor` looks at for each layout. */
const sampleSize = 50

export interface LayoutSample {
  collection: string
  field: string
  records: SampledWrap[]
}

/** A sample for each field whose layout is declared. */
export async function sampleLayouts({ store, settings }: Keystore): Promise<LayoutSample[]> {
  const samples: LayoutSample[] = []
  for (const { name: collection, layouts = [] } of settings.collections) {
    for (const { field } of layouts) {
      const place = { collection, field }
      const records = await sampleWraps(store, settings.collections, place, sampleSize)
      samples.push({ ...place, records })
    }
  }
  return samples
}
