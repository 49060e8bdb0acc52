/** The shape of one entry of `backup list --json`. */
export interface BackupView {
  name: string
  /** When it began. */
  takenAt: string
  /** Null: until it is dropped. */
  keepUntil: string | null
  /** Versions that envelopes in it may be under. */
  versions: number[]
}
