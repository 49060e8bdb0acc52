import { readFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { afterAll, expect, inject, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { processes } from '../support/processes.ts'
import { WarmCli } from '../support/warm-cli.ts'
import { workbench } from './workbench.ts'

const running = processes()
const warm = new WarmCli({})
afterAll(() => warm.close())

interface Case {
  mongodb?: string
  temporal?: { address: string; namespace?: string }
  check: 'mongodb' | 'temporal'
  says: RegExp
  cure: RegExp
}

/** Runs this many at a time. */
async function each<T>(items: readonly T[], width: number, use: (item: T) => Promise<void>) {
  const left = [...items]
  const next = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await use(item)
  }
  await Promise.all(Array.from({ length: width }, next))
}

async function silentServer(): Promise<string> {
  const server = createServer((socket) => socket.on('error', () => undefined))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  afterAll(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

const mongo = inject('mongoUri')
const host = new URL(mongo).host

const cases: Case[] = [
  ...(
    [
      ['mongodb+srv://nosuch.invalid/', /querySrv E/, /SRV record/],
      [`${mongo}&compressors=snappy`, /needs the package "snappy"/, /take snappy out/],
      [`${mongo}&compressors=zstd`, /needs the package "@mongodb-js\/zstd"/, /take zstd out/],
      [`${mongo}&tls=true&tlsCAFile=/nosuch.pem`, /ENOENT/, /file/],
      [`mongodb://${host}/?loadBalanced=true`, /not supported/, /take loadBalanced out/],
      [`mongodb://${host}/?replicaSet=wrong`, /in the replica set "wrong"/, /rs\.status\(\)/],
      [`mongodb://app:s3cret-pw@${host}/`, /authentication failed/, /user, password/],
      ['mongodb://app:s3cret-pw/x@db/', /not percent-encoded/, /%2F/],
      [`${mongo}&tls=true`, /before secure TLS/, /take tls=true out/],
      [`${mongo}&fooBar=1`, /"fooBar" is not known/, /configuration\.md/],
      ['mongodb://127.0.0.1:1/', /ECONNREFUSED/, /running/],
      ['mongodb://nosuch.invalid/', /getaddrinfo/, /DNS/],
    ] as const
  ).map(([mongodb, says, cure]) => ({ mongodb, check: 'mongodb' as const, says, cure })),
  ...(
    [
      [{ address: '127.0.0.1:1' }, /connection refused/, /temporal\.address/],
      [{ address: 'nosuch.invalid:7233' }, /name|lookup/i, /DNS/],
      [{ address: host }, /does not answer|closes|protocol/, /Temporal/],
      [
        { address: inject('temporalAddress'), namespace: 'nosuch' },
        /namespace "nosuch", does not have this namespace/,
        /namespace create/,
      ],
    ] as const
  ).map(([temporal, says, cure]) => ({ temporal, check: 'temporal' as const, says, cure })),
]

test('doctor reports each wrong address in one line with a hint, and continues with its other checks', async () => {
  const bench = await workbench(running)
  const file = await bench.config()
  expect(await warm.run(['setup', '--config', file])).toMatchObject({ code: 0 })
  const valid = await readFile(file, 'utf8')
  const silent = { address: await silentServer() }
  const all: Case[] = [
    ...cases,
    { temporal: silent, check: 'temporal', says: /does not answer/, cure: /firewall|busy/ },
  ]
  await each([...all.entries()], 3, async ([index, { mongodb, temporal, check, says, cure }]) => {
    const text = stringify({
      ...parse(valid),
      ...(mongodb === undefined ? {} : { mongodb: { uri: mongodb, database: bench.install } }),
      ...(temporal === undefined ? {} : { temporal }),
    })
    const wrong = await bench.write(`case-${index}.yaml`, text)
    const { code, stdout, stderr } = await warm.run(['doctor', '--config', wrong])
    const what = `${mongodb ?? JSON.stringify(temporal)}\n${stdout}${stderr}`
    expect(code, what).toBe(4)
    const failed = stdout.split('\n').filter((line) => line.startsWith('fail'))
    expect(failed, what).toHaveLength(1)
    const [line = ''] = failed
    const [detail = '', advice = ''] = line.split('  → ')
    expect(detail, what).toMatch(new RegExp(`^fail +${check} `))
    expect(detail, what).toMatch(says)
    expect(advice, what).toMatch(cure)
    expect(stdout + stderr).not.toMatch(/s3cret|keyturn doctor|fault of keyturn/)
    const others = ['configuration', check === 'mongodb' ? 'temporal' : 'mongodb', 'env']
    for (const other of others) expect(stdout, what).toMatch(new RegExp(`^ok +${other} `, 'm'))
    expect(stderr, what).toMatch(/^error: 1 of \d+ checks failed\nhint: .+\n$/m)
  })
}, 180_000)
