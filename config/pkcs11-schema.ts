import { z } from 'zod'

/** A key's label is `<prefix>-v<N>` and has at most 32 characters; one digit is the least a version needs. */
const maxPrefix = 32 - '-v1'.length

const quoted = (message: string) => z.string(message).min(1, 'must not be empty')
const tokenKeys = ['token_label', 'token_serial', 'slot'] as const

/** The section `kek.pkcs11`. Texts of digits must be in quotes: unquoted, YAML makes `0123` a number and another PIN. */
export const pkcs11Section = z
  .strictObject(
    {
      module_path: quoted('must be the path of a PKCS#11 module'),
      module_parameters: quoted('must be a text in quotes')
        .refine((text) => !text.includes('\0'), 'must not have a NUL character')
        .optional(),
      slot: z.int('must be the number of a slot').min(0, 'must be the number of a slot').optional(),
      token_label: quoted('must be a text in quotes').optional(),
      token_serial: quoted('must be a text in quotes').optional(),
      pin_file: quoted('must be the path of a file').optional(),
      pin: z.string('must be a text in quotes').optional(),
      pin_env: quoted('must be the name of a variable')
        .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable')
        .default('KEYTURN_ENCRYPTION_PKCS11_PIN'),
      key_label_prefix: quoted('must be a text')
        .max(maxPrefix, `must have at most ${maxPrefix} characters (a label has at most 32)`)
        .default('keyturn-kek'),
      max_sessions: z
        .int('must be a number from 1')
        .min(1, 'must be a number from 1')
        .max(100_000, 'must be a number from 1 to 100000')
        .default(30),
      use_gcm_iv_from_hsm: z
        .literal(['auto', true, false], "must be 'auto', true or false")
        .default('auto'),
    },
    'must be a section',
  )
  .superRefine((section, context) => {
    const named = tokenKeys.filter((key) => section[key] !== undefined)
    if (named.length === 1) return
    context.addIssue({
      code: 'custom',
      path: named.slice(1, 2),
      message:
        named.length === 0
          ? 'names no token: one of token_label, token_serial and slot is needed'
          : `names the token a second time: ${named.join(' and ')} are both there`,
    })
  })

export type WrittenPkcs11 = z.output<typeof pkcs11Section>
