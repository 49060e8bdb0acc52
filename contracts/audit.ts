/** The end of the audit's chain: its hash stands for every entry before it. */
export interface AuditHead {
  readonly type: 'keyturn-head/1'
  /** The keystore's id. */
  readonly install: string
  readonly entries: number
  /** Hash of the last entry in hex; 64 zeros for an empty chain. */
  readonly head: string
  /** ISO 8601 with milliseconds, by the database's clock. */
  readonly at: string
}

/** The shape of `audit head --json`, of a line of `audit.anchor_file` and of what `audit.anchor_url` gets. */
export interface SignedHead extends AuditHead {
  /** Ed25519, base64, over the RFC 8785 form of all members but the last two; null: unsigned. */
  readonly signature: string | null
  /** The signer's public key, PEM (SPKI). */
  readonly key: string | null
}
