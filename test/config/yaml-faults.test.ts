import { describe, expect, test } from 'vitest'
import { parseYaml } from '../../config/yaml-source.ts'

const nine = (item: string) => `[${Array<string>(9).fill(item).join(', ')}]`
const bomb = [
  'a: &a ' + nine('x'),
  ...Array.from('bcdefghi', (name, at) => `${name}: &${name} ${nine('*' + 'abcdefgh'.charAt(at))}`),
]

describe('a file that is no plain YAML', () => {
  test.each([
    ['aliases that multiply', bomb.join('\n'), /^f: not valid yaml \(its aliases multiply\)$/],
    ['an alias inside of itself', 'a: &a [*a]', /nested without end/],
    ['an alias that is unknown', 'a: *b', /alias has no anchor/],
    ['nesting without end', `a: ${'['.repeat(20_000)}`, /^f:1:\d+: not valid yaml/],
    [
      'a doubled key',
      'install: x\nkek: { provider: env }\ninstall: y\n',
      /^f:3:1: the key 'install' is there twice$/,
    ],
    [
      'a doubled key of a section',
      'kek: { provider: env, "provider": env }\n',
      /^f:1:\d+: the key 'provider' is there twice$/,
    ],
    ['a tag', 'install: !!tag x\n', /^f:1:10: the value of 'install' has a tag \('!'\)$/],
    ['a tag of its own', 'a:\n  - !own { b: c }\n', /^f:2:5: a value has a tag/],
    [
      'a text that would be a tag',
      'pin: !s3cret\n',
      /^f:1:6: the value of 'pin' has a tag \('!'\)$/,
    ],
    [
      'a tag of another language',
      'a: { b: !!js/function x }',
      /^f:1:9: the value of 'b' has a tag/,
    ],
  ])('with %s is refused in one line', (_, text, message) => {
    expect(() => parseYaml('f', text)).toThrow(
      expect.objectContaining({
        code: 'config-invalid',
        exitCode: 2,
        message: expect.stringMatching(message) as string,
      }),
    )
  })
})
