/** Where an envelope is stored. The AAD contains all of it, so an envelope opens in no other place. */
export interface Place {
  readonly collection: string
  /** Dotted path of the envelope sub-document, as in `keyturn.yaml`. */
  readonly field: string
  /** The record's `_id`, in any type that `idBytes` accepts. */
  readonly id: unknown
}
