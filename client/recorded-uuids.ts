import type { CollectionConfig, FleetSettings } from '../contracts/settings.ts'

/** UUIDs of a database's collections by their names; empty where they could not be read. */
export type Uuids = ReadonlyMap<string, string>

/** The settings with the UUID of each collection: today's, else the one that was recorded. */
export function withUuids(
  settings: FleetSettings,
  uuids: Uuids,
  recorded: FleetSettings,
): FleetSettings {
  const withUuid = (collection: CollectionConfig): CollectionConfig => {
    const before = recorded.collections.find(({ name }) => name === collection.name)?.uuid
    const uuid = uuids.get(collection.name) ?? before
    return uuid === undefined ? collection : { ...collection, uuid }
  }
  return { ...settings, collections: settings.collections.map(withUuid) }
}

/** A line for each collection that `wanted` keeps and that is not the recorded one any more. What cannot be read is no difference. */
export function uuidDifference(
  recorded: FleetSettings,
  wanted: FleetSettings,
  uuids: Uuids,
): string[] {
  if (uuids.size === 0) return []
  return recorded.collections.flatMap(({ name, uuid }) => {
    const isKept = wanted.collections.some((other) => other.name === name)
    const today = uuids.get(name)
    if (uuid === undefined || !isKept || today === uuid) return []
    return [
      today === undefined
        ? `collections: ${name} is missing, it was there when it was recorded; an empty one is made`
        : `collections: ${name} is another collection than the recorded one`,
    ]
  })
}
