import { z } from 'zod'
import { parsePkcs11Uri, type Pkcs11Uri } from './pkcs11-uri.ts'

/** A key's label is `<prefix>-v<N>`, at most 32 characters; a version needs at least one digit. */
const maxPrefix = 32 - '-v1'.length

const tooLong = `must have at most ${maxPrefix} characters (a label has at most 32)`

const quoted = (message: string) => z.string(message).min(1, 'must not be empty')
const tokenKeys = ['token_label', 'token_serial', 'slot'] as const

/**
 * The section `kek.pkcs11`. Digits must be quoted: YAML reads an unquoted `0123` as a number, which would be a different
 * PIN.
 */
export const pkcs11Section = z
  .strictObject(
    {
      module_path: quoted('must be the path of a PKCS#11 module').optional(),
      module_parameters: quoted('must be a text in quotes')
        .refine((text) => !text.includes('\0'), 'must not have a NUL character')
        .optional(),
      slot: z.int('must be the number of a slot').min(0, 'must be the number of a slot').optional(),
      token_label: quoted('must be a text in quotes').optional(),
      token_serial: quoted('must be a text in quotes').optional(),
      uri: quoted('must be a PKCS#11 URI').optional(),
      pin_file: quoted('must be the path of a file').optional(),
      pin: z.string('must be a text in quotes').optional(),
      pin_env: quoted('must be the name of a variable')
        .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable')
        .default('KEYTURN_ENCRYPTION_PKCS11_PIN'),
      key_label_prefix: quoted('must be a text').max(maxPrefix, tooLong).optional(),
      user_type: z.enum(['user', 'crypto-user'], 'must be "user" or "crypto-user"').default('user'),
      environment: z
        .record(
          z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable'),
          z.string('must be a text in quotes'),
          'must be a section of names and texts',
        )
        .default({}),
      max_sessions: z
        .int('must be a number from 1')
        .min(1, 'must be a number from 1')
        .max(100_000, 'must be a number from 1 to 100000')
        .default(30),
      use_gcm_iv_from_hsm: z
        .literal(['auto', true, false], 'must be "auto", true or false')
        .default('auto'),
    },
    'must be a section',
  )
  .superRefine((section, context) => {
    const refuse = (path: string[], message: string) =>
      context.addIssue({ code: 'custom', path, message })
    const uri = section.uri === undefined ? null : parsePkcs11Uri(section.uri)
    if (uri !== null && 'refusal' in uri) {
      refuse(['uri'], uri.refusal)
      return
    }
    for (const key of uri === null ? [] : doubled(uri, section)) {
      refuse([key], 'repeats what is in "uri"')
    }
    if ((uri?.modulePath ?? section.module_path) === undefined)
      refuse(['module_path'], 'is missing')
    if ((uri?.keyLabelPrefix?.length ?? 0) > maxPrefix)
      refuse(['uri'], `has an object that ${tooLong}`)
    const named = tokenKeys.filter((key) => section[key] !== undefined)
    if (uri !== null || named.length === 1) return
    refuse(
      named.slice(1, 2),
      named.length === 0
        ? 'names no token: one of token_label, token_serial and slot is needed'
        : `names the token a second time: ${named.join(' and ')} are both set`,
    )
  })

/** Keys that repeat a part of the URI: one of the two would be ignored. */
function doubled(uri: Pkcs11Uri, section: Partial<Record<UriKey, unknown>>): UriKey[] {
  const pin: UriKey[] = (uri.pinFile ?? uri.pin) ? ['pin_file', 'pin'] : []
  const inUri: UriKey[] = [
    ...tokenKeys,
    ...pin,
    ...(uri.modulePath === undefined ? [] : (['module_path'] as const)),
    ...(uri.keyLabelPrefix === undefined ? [] : (['key_label_prefix'] as const)),
  ]
  return inUri.filter((key) => section[key] !== undefined)
}

type UriKey = (typeof tokenKeys)[number] | 'pin_file' | 'pin' | 'module_path' | 'key_label_prefix'

export type WrittenPkcs11 = z.output<typeof pkcs11Section>
