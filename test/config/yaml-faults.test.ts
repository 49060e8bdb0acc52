import { describe, expect, test } from 'vitest'
import { parseYaml } from '../../config/yaml-source.ts'

const nine = (item: string) => `[${Array<string>(9).fill(item).join(', ')}]`
const bomb = [
  'a: &a ' + nine('x'),
  ...Array.from('bcdefghi', (name, at) => `${name}: &${name} ${nine('*' + 'abcdefgh'.charAt(at))}`),
]

describe('parseYaml', () => {
  test.each([
    [
      'aliases that expand without limit',
      bomb.join('\n'),
      /^f: not valid yaml \(its aliases expand without limit\)$/,
    ],
    ['an alias inside itself', 'a: &a [*a]', /nested too deeply/],
    ['an unknown alias', 'a: *b', /alias has no anchor/],
    ['very deep nesting', `a: ${'['.repeat(20_000)}`, /^f:1:\d+: not valid yaml/],
    [
      'a key that appears twice',
      'install: x\nkek: { provider: env }\ninstall: y\n',
      /^f:3:1: the key "install" appears twice$/,
    ],
    [
      'a key that appears twice in a section',
      'kek: { provider: env, "provider": env }\n',
      /^f:1:\d+: the key "provider" appears twice$/,
    ],
    ['a tag', 'install: !!tag x\n', /^f:1:10: the value of "install" has a tag \("!"\)$/],
    ['an unknown tag', 'a:\n  - !own { b: c }\n', /^f:2:5: a value has a tag/],
    [
      'an unquoted text that begins with "!"',
      'pin: !s3cret\n',
      /^f:1:6: the value of "pin" has a tag \("!"\)$/,
    ],
    [
      'a tag of another language',
      'a: { b: !!js/function x }',
      /^f:1:9: the value of "b" has a tag/,
    ],
  ])('refuses %s in one line', (_, text, message) => {
    expect(() => parseYaml('f', text)).toThrow(
      expect.objectContaining({
        code: 'config-invalid',
        exitCode: 2,
        message: expect.stringMatching(message) as string,
      }),
    )
  })
})
