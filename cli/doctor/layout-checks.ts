import type { Keystore } from '../../client/keystore.ts'
import { fail, ok, warn, type Check } from '../../client/doctor/check.ts'
import { sampleLayouts, type LayoutSample } from '../../client/views/layouts.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { layoutIn, readWrap, wrapAad, type Layout } from '../../envelope/layout.ts'
import type { KekProvider } from '../../providers/provider.ts'

const hint = 'compare the layout in keyturn.yaml with a record (docs/layouts.md)'

/** Checks each declared layout against sample records: all paths exist, types are right, wraps open. Only reads. */
export async function layoutChecks(
  { install, settings }: Pick<Keystore, 'install' | 'settings'>,
  samples: readonly LayoutSample[],
  keys: KekProvider,
): Promise<Check[]> {
  const checks: Check[] = []
  for (const sample of samples) {
    const layout = layoutIn(settings.collections, sample.collection, sample.field)
    const check = `layout ${sample.collection}.${sample.field}`
    try {
      checks.push(await checkOf(check, layout, sample, keys, install?.name ?? ''))
    } catch (error) {
      if (!(error instanceof KeyturnError)) throw error
      checks.push(fail(check, error.message, hint))
    }
  }
  return checks
}

export async function declaredLayoutChecks(
  keystore: Keystore,
  keys: KekProvider,
): Promise<Check[]> {
  return layoutChecks(keystore, await sampleLayouts(keystore), keys)
}

async function checkOf(
  check: string,
  layout: Layout,
  { collection, records }: LayoutSample,
  keys: KekProvider,
  install: string,
): Promise<Check> {
  const found = records.filter(({ missing }) => missing.length < layout.paths.length)
  if (found.length === 0) {
    if (records.length === 0) return ok(check, 'the collection has no record yet')
    const paths = layout.paths.map((path) => `"${path}"`).join(' or ')
    return fail(check, `none of ${records.length} records has ${paths}`, hint)
  }
  let opened = 0
  for (const { id, idBytes, wrap, missing } of found) {
    if (missing[0] !== undefined) return fail(check, `record ${id} has no "${missing[0]}"`, hint)
    const { kekVersion, dekIv, dekWrapped } = readWrap(layout, wrap, keys.name)
    if (!keys.loaded().includes(kekVersion)) continue
    const aad = wrapAad(layout, { install, collection, id: idBytes }, kekVersion)
    const [dek] = await keys.unwrap(kekVersion, [{ iv: dekIv, wrapped: dekWrapped, aad }])
    if (!Buffer.isBuffer(dek)) {
      return fail(check, `record ${id} does not open under v${kekVersion}`, `${hint}: aad first`)
    }
    dek.fill(0)
    opened += 1
  }
  const detail = `${opened} of ${found.length} sampled records open`
  return opened === found.length
    ? ok(check, detail)
    : warn(check, `${detail}; the others name versions that are not loaded here`, 'keyturn status')
}
