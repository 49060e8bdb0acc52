import { readFileSync } from 'node:fs'
import { MongoClient } from 'mongodb'
import { describe, expect, inject, test } from 'vitest'
import { addressOptions, sameAsOurs, type AddressOption } from '../../contracts/address-options.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { addressNotes, readAddress } from '../../store/mongodb-address.ts'
import { openStore } from '../../store/store.ts'
import { processes } from '../support/processes.ts'
import { workbench } from '../cli/workbench.ts'

const base = 'mongodb://127.0.0.1:27017/?'
const rules = Object.entries(addressOptions)

function rulesOf<T extends AddressOption['treatment']>(treatment: T) {
  return rules.filter(
    (entry): entry is [string, Extract<AddressOption, { treatment: T }>] =>
      entry[1].treatment === treatment,
  )
}

/** Values that the driver takes, where `true` is none. */
const values: Record<string, string> = {
  replicaSet: 'rs0',
  srvMaxHosts: '2',
  srvServiceName: 'mongodb',
  proxyHost: 'proxy',
  proxyPort: '1080',
  family: '4',
  autoSelectFamilyAttemptTimeout: '300',
  localThresholdMS: '20',
  serverMonitoringMode: 'poll',
  authMechanism: 'SCRAM-SHA-256',
  authMechanismProperties: 'SERVICE_NAME:mongodb',
  authSource: 'admin',
  compressors: 'zlib',
  zlibCompressionLevel: '3',
}

/** An option's row in the table of docs/configuration.md. */
function rowOf(name: string, rule: AddressOption): string {
  const counts = () => {
    switch (rule.treatment) {
      case 'honoured':
        return 'honoured'
      case 'refused':
        return `refused${rule.unless === undefined ? '' : `, unless \`${rule.unless}\``}`
      case 'overridden':
        return `overridden by ${rule.by}`
      case 'limited':
        return rule.most === Number.MAX_SAFE_INTEGER
          ? `limited: at least ${rule.least}`
          : `limited: ${rule.least} to ${rule.most}`
    }
  }
  return [`\`${name}\``, counts(), rule.why].join(' | ')
}

describe('each option of an address', () => {
  test('has a row in docs/configuration.md, and the page has no other rows', () => {
    const text = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
    const section = text.split('## Options of the MongoDB address')[1]?.split('\n## ')[0] ?? ''
    const rows = section
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) =>
        line
          .slice(2, -2)
          .replace(/ +\| +/g, ' | ')
          .trim(),
      )
    expect(rows).toEqual(rules.map(([name, rule]) => rowOf(name, rule)))
  })

  test.each(rulesOf('honoured').map(([name]) => name))(
    '%s is passed to the driver as written',
    (name) => {
      const text = `${name}=${values[name] ?? 'true'}`
      const { uri, notes } = readAddress(`${base}${text}`)
      expect(uri).toBe(`${base}${text}`)
      expect(notes).toHaveLength(name === 'directConnection' ? 1 : 0)
    },
  )

  test.each(rulesOf('overridden'))(
    '%s is left out, with a warning unless its value makes no difference',
    (name, { by, why }) => {
      const { uri, notes } = readAddress(`${base}${name.toUpperCase()}=other&appName=mine`)
      expect(uri).toBe(`${base}appName=mine`)
      expect(notes).toEqual([
        `"${name}=other" of the MongoDB address does not count: ${by} does, since ${why}`,
      ])
      for (const same of sameAsOurs[name] ?? []) {
        expect(readAddress(`${base}${name}=${same}`)).toEqual({ uri: base.slice(0, -1), notes: [] })
      }
    },
  )

  test.each(rulesOf('limited'))(
    '%s is used within its limits, otherwise the nearest limit with a warning',
    (name, rule) => {
      const { least, most } = rule
      expect(readAddress(`${base}${name}=${least}`).notes).toEqual([])
      const wrong = [...(least > 1 ? [least - 1] : []), ...(most < 1e15 ? [most + 1] : [])]
      expect(wrong).not.toEqual([])
      for (const value of wrong) {
        const counts = value < least ? least : most
        const { uri, notes } = readAddress(`${base}${name}=${value}`)
        expect(uri).toBe(`${base}${name}=${counts}`)
        expect(notes).toEqual([expect.stringContaining(`does not count: ${counts} does`)])
      }
    },
  )

  test.each(rulesOf('refused'))(
    '%s is refused by name, unless its value changes nothing',
    (name, { unless }) => {
      expect(() => readAddress(`${base}${name}=true`)).toThrow(
        expect.objectContaining({
          code: 'config-invalid',
          message: expect.stringContaining(name) as string,
        }) as Error,
      )
      expect(readAddress(`${base}${name}=${unless}`).notes).toEqual([])
    },
  )

  test('has a name that the driver knows', () => {
    for (const [name] of rules) {
      const message = (() => {
        try {
          new MongoClient(`${base}${name}=${values[name] ?? '1'}`)
          return ''
        } catch (error) {
          return error instanceof Error ? error.message : ''
        }
      })()
      expect(message, name).not.toMatch(/not supported|unknown option/i)
    }
  })

  test('results in the client settings of the table', async () => {
    const wishes =
      'maxPoolSize=1&w=1&readPreference=secondary&socketTimeoutMS=5&retryWrites=false&waitQueueTimeoutMS=1&heartbeatFrequencyMS=60000&appName=mine'
    const address = new URL(inject('mongoUri'))
    for (const wish of wishes.split('&'))
      address.searchParams.set(...(wish.split('=') as [string, string]))
    const store = await openStore({ uri: address.href, database: 'options' })
    const { options } = store.client
    expect(options).toMatchObject({
      maxPoolSize: 20,
      socketTimeoutMS: 0,
      retryWrites: true,
      waitQueueTimeoutMS: 10_000,
      serverSelectionTimeoutMS: 15_000,
      heartbeatFrequencyMS: 10_000,
      appName: 'mine',
      connectTimeoutMS: 5_000,
    })
    expect(store.db.writeConcern).toMatchObject({ w: 'majority' })
    expect(store.db.readPreference.mode).toBe('primary')
    await store.close()
  })
})

describe('an ignored option', () => {
  const running = processes()

  test('is reported once by a command, on stderr, and in one line by doctor', async () => {
    const bench = await workbench(running)
    const uri = `${inject('mongoUri')}&readPreference=secondary&maxPoolSize=1`
    await bench.config({ mongodb: { uri, database: bench.install } })
    const status = await bench.keyturn('status', '--json')
    expect(status.code).toBe(0)
    expect(
      status.stderr.match(/^warning: "readPreference=secondary" .*primary does/gm),
    ).toHaveLength(1)
    expect(status.stderr.match(/^warning: "maxPoolSize=1" .*20 does/gm)).toHaveLength(1)
    const doctor = await bench.keyturn('doctor')
    expect(doctor.stderr).not.toContain('warning:')
    expect(
      doctor.stdout.match(/^warn +mongodb address .*secondary.*maxPoolSize=1.*→/gm),
    ).toHaveLength(1)
  })

  test('is a warning in the log of a worker', async () => {
    const bench = await workbench(running)
    const uri = `${inject('mongoUri')}&readPreference=secondary`
    const file = await bench.config({
      mongodb: { uri, database: bench.install },
      worker: { listen: '127.0.0.1:0' },
    })
    const worker = running.cli(['worker', '--roles', 'control', '--config', file])
    const line = await worker.line(/readPreference=secondary/)
    expect(JSON.parse(line)).toMatchObject({ level: 40 })
    await worker.stop()
  })

  test('is not reported for an address that cannot be used', () => {
    expect(addressNotes('mongodb://host/?fooBar=1')).toEqual([])
    expect(() => readAddress('mongodb://host/?fooBar=1')).toThrow(KeyturnError)
  })
})
