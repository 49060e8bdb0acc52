import type { CollectionConfig, FleetSettings } from '../contracts/settings.ts'

/** UUIDs of a database's collections by their names; empty where they could not be read. */
export type Uuids = ReadonlyMap<string, string>

/** The settings with the UUID of each collection: the current one, else the recorded one. */
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

/** A line for each collection that `wanted` keeps and whose UUID is no longer the recorded one. UUIDs that cannot be read are skipped. */
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
