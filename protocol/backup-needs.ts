/** A time in which a version was active, and the end of the settle that left it; null: none has ended. ISO 8601. */
export interface Period {
  readonly activatedAt: string
  readonly leftAt: string | null
}

/** The history of a version, as far as backups depend on it. */
export interface VersionLife {
  /** In order; empty: never active. */
  readonly periods: readonly Period[]
  readonly destroyedAt: string | null
  /** Envelopes of it are in quarantine, or there are odd envelopes, which may need it. */
  readonly isHeld: boolean
}

/**
 * Whether a backup that began at `takenAt` may hold an envelope under a version. It does unless the version became active
 * later, was destroyed earlier, or had been left: a settle had ended, the version was not active again since, and no envelope
 * of it was stepped over.
 */
export function isNeededBy(
  takenAt: string,
  { periods, destroyedAt, isHeld }: VersionLife,
): boolean {
  const taken = Date.parse(takenAt)
  const activations = periods.map(({ activatedAt }) => Date.parse(activatedAt))
  if (!activations.some((activated) => activated <= taken)) return false
  if (destroyedAt !== null && Date.parse(destroyedAt) < taken) return false
  if (isHeld) return true
  const hasLeft = periods.some(({ leftAt }) => {
    if (leftAt === null || Date.parse(leftAt) >= taken) return false
    const left = Date.parse(leftAt)
    return !activations.some((activated) => activated > left && activated <= taken)
  })
  return !hasLeft
}

interface LifeRow {
  readonly created_at: Date
  readonly activated_at: Date | null
  readonly left_at: Date | null
  readonly destroyed_at: Date | null
  readonly periods?: readonly { readonly activated_at: Date; readonly left_at: Date | null }[]
}

/** A row of `kek_versions` as its history. One of an older build has no periods: it counts as active since it was made. */
export function lifeOf(row: LifeRow, isHeld: boolean): VersionLife {
  const wasUsed = row.activated_at !== null || row.left_at !== null
  const known = row.periods ?? (wasUsed ? [{ activated_at: row.created_at, left_at: row.left_at }] : []) // prettier-ignore
  const periods = known.map(({ activated_at, left_at }) => ({
    activatedAt: activated_at.toISOString(),
    leftAt: left_at?.toISOString() ?? null,
  }))
  return { periods, destroyedAt: row.destroyed_at?.toISOString() ?? null, isHeld }
}
