import { KeyturnError } from './errors.ts'

/** Nested causes that are followed; a longer chain is circular. */
const deepest = 10

/** The innermost cause of an error. */
export function innermost(error: unknown): unknown {
  let current = error
  for (let depth = 0; depth < deepest; depth += 1) {
    if (!(current instanceof Error) || current.cause === undefined || current.cause === null) break
    current = current.cause
  }
  return current
}

/**
 * An error's text as part of one of our messages: one line, lower case, no full stop, without OpenSSL's source locations.
 * An error without text is shown by its code or name.
 */
export function reasonOf(error: unknown): string {
  const { message, code, name } = wordsOf(error)
  const text = inOneLine(message)
  return text === '' ? (code ?? name) : text
}

/** Any text in the form of our messages. */
export function inOneLine(text: string): string {
  const openssl = /error:[0-9A-F]{8}:[^:]*:[^:]*:([^:]+)/i.exec(text)?.[1]
  const line = (openssl ?? text).replace(/\s+/g, ' ').trim().replace(/\.+$/, '')
  return line.replace(/^[A-Z](?=[a-z' ])/, (letter) => letter.toLowerCase())
}

/** As Node.js throws them. */
export type SystemError = Error & { readonly code: string; readonly syscall?: string }

/** Whether the operating system refused a file, a socket, a process or a resource. */
export function isSystemError(error: unknown): error is SystemError {
  if (!(error instanceof Error)) return false
  const { code, syscall, errno } = error as { code?: unknown; syscall?: unknown; errno?: unknown }
  const isNamed = typeof code === 'string' && /^E[A-Z0-9_]+$/.test(code)
  return isNamed && (typeof syscall === 'string' || typeof errno === 'number')
}

/** Hints for errors of the operating system. */
const systemHints: Record<string, string> = {
  EACCES: 'let the user that runs keyturn have it',
  EPERM: 'let the user that runs keyturn do it',
  EROFS: 'the file system is mounted read-only',
  ENOENT: 'is the path right?',
  ENOTDIR: 'a part of the path is a file',
  EISDIR: 'name a file, not its folder',
  ELOOP: 'its symbolic links lead in a circle',
  EMFILE: 'raise the limit of open files (ulimit -n, LimitNOFILE= of systemd)',
  ENFILE: 'the machine has no more open files to give (fs.file-max)',
  ENOSPC: 'make room on the disk; for file watchers, raise fs.inotify.max_user_watches',
  EDQUOT: 'the disk quota of this user is used up',
  ENOMEM: 'the machine has no memory left',
  EADDRINUSE: 'another process listens there: choose another port',
  EADDRNOTAVAIL: 'this machine has no such address',
}

/** The operating system's error as ours, `system-refused`; null for anything else. */
export function asSystemError(error: unknown): KeyturnError | null {
  const cause = innermost(error)
  if (!isSystemError(cause)) return null
  const hint = systemHints[cause.code]
  return new KeyturnError('system-refused', `the operating system refused: ${reasonOf(cause)}`, {
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  })
}

function wordsOf(error: unknown): { message: string; code: string | null; name: string } {
  if (!(error instanceof Error)) return { message: String(error), code: null, name: 'unknown' }
  const { code } = error as { code?: unknown }
  // Several addresses of one host were tried, each with an error of its own.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : undefined
  const message = error.message === '' && first instanceof Error ? first.message : error.message
  return { message, code: typeof code === 'string' ? code : null, name: error.name }
}
