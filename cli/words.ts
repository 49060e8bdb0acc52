import type { Command } from 'commander'

const helpFlags = new Set(['-h', '--help'])

/** The index of the command's name in a command line; the length of `argv` if there is none. */
export function commandAt(argv: readonly string[]): number {
  const at = argv.findIndex(
    (word, index) => !word.startsWith('-') && argv[index - 1] !== '--config',
  )
  return at === -1 ? argv.length : at
}

/** Accepts `keyturn kek rotate` for `keyturn rotate`. */
export function withoutKek(argv: readonly string[]): string[] {
  const at = commandAt(argv)
  return argv[at] === 'kek' ? argv.toSpliced(at, 1) : [...argv]
}

/**
 * Removes the help flags from a command line whose command is unknown. With them commander would show the general help; without
 * them it refuses the name and suggests one. Also for commands of a group (`policy sett --help`) and for `help NAME`.
 */
export function withoutHelpOfUnknown(program: Command, argv: readonly string[]): string[] {
  const rest = argv.slice(commandAt(argv))
  const names = rest[0] === 'help' ? rest.slice(1) : rest
  let group = program
  for (const name of names) {
    if (name.startsWith('-') || group.commands.length === 0) break
    const next = group.commands.find(
      (each) => each.name() === name || each.aliases().includes(name),
    )
    if (next === undefined) {
      if (name === 'help') break
      const before = argv.slice(0, commandAt(argv))
      const words = rest[0] === 'help' ? names : rest
      return [...before, ...words].filter((word) => !helpFlags.has(word))
    }
    group = next
  }
  return [...argv]
}
