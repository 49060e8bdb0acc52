import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Document } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { openFleet, type CliEnd, type Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'

/** docs/runbook.md: each of its commands is run, in the situation that its section is for. */
const page = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8')

/** The commands of each section, block by block. */
const sections = new Map(
  page
    .split(/^## /m)
    .slice(1)
    .map((text) => {
      const blocks = [...text.matchAll(/^```console\n(.*?)^```/gms)].map(([, block = '']) =>
        [...block.matchAll(/^\$ (.*)$/gm)].map(([, command = '']) => command),
      )
      return [text.slice(0, text.indexOf('\n')), blocks] as const
    }),
)

const softhsm = inject('softhsm')
const envelopes = 60
const newPin = '87654321'

describe.skipIf(softhsm === null)('the runbook', () => {
  let fleet: Fleet
  let rotation = ''
  const ran = new Set<string>()

  beforeAll(async () => {
    fleet = await openFleet({
      provider: 'pkcs11',
      nodes: ['vm-a', 'vm-b', 'vm-c'],
      versions: [1],
    })
    await fleet.fill(envelopes)
  })
  afterAll(async () => {
    await fleet.close()
  })

  /** Runs a block; each command must end with 0. The answers, by command. */
  async function follow(section: string, block: number): Promise<Record<string, CliEnd['json']>> {
    const answers: Record<string, CliEnd['json']> = {}
    for (const command of sections.get(section)?.[block] ?? []) {
      answers[command] = await runs(command)
    }
    expect(Object.keys(answers), `${section} has no such block`).not.toEqual([])
    ran.add(`${section} ${block}`)
    return answers
  }

  async function runs(command: string): Promise<CliEnd['json']> {
    const [program = '', ...args] = wordsOf(command)
    if (program === 'keyturn') {
      const json = await fleet.must(...args.map(here))
      if (args[0] === 'rotate' && !args.includes('--dry-run')) rotation = json.rotationId
      return json
    }
    if (program === 'systemctl') {
      expect(args).toEqual(['reload', 'keyturn-worker'])
      await reload()
    } else {
      expect(program).toBe('pkcs11-tool')
      await administrator(args)
    }
    return {} as CliEnd['json']
  }

  /** Names of the page as they are here. */
  function here(word: string): string {
    if (word === 'ROTATION') return rotation
    return word === 'rotation.html' ? path.join(fleet.folder, word) : word
  }

  async function administrator(args: readonly string[]): Promise<void> {
    const { label, pin } = fleet.token!
    const own = new Map([
      ['/usr/lib/softhsm/libsofthsm2.so', softhsm ?? ''],
      ['payments', label],
    ])
    const pins = ['--pin', pin, ...(args.includes('--change-pin') ? ['--new-pin', newPin] : [])]
    const env = { ...process.env, ...fleet.env }
    await promisify(execFile)(
      'pkcs11-tool',
      [...args.map((word) => own.get(word) ?? word), ...pins],
      { env },
    )
  }

  /** Writes the new PIN into the file, as the page says before it reloads the workers. */
  async function reload(): Promise<void> {
    await writeFile(fleet.token!.pinFile, newPin)
    for (const node of ['vm-a', 'vm-b', 'vm-c']) process.kill(fleet.nodes.pid(node), 'SIGHUP')
  }

  const rotations = (answers: Record<string, CliEnd['json']>) =>
    Object.entries(answers)
      .filter(([command]) => command.startsWith('keyturn rotate') && !command.includes('dry-run'))
      .map(([, { outcome }]) => outcome)

  test('a yearly rotation: the report is written, and the old key destroyed', async () => {
    const first = await follow('Yearly rotation', 0)
    expect(rotations(first)).toEqual(['completed'])
    const report = await readFile(path.join(fleet.folder, 'rotation.html'), 'utf8')
    expect(report).toContain(rotation)
    const then = await follow('Yearly rotation', 1)
    expect(then['keyturn remove --version 1 --destroy-hsm-key']).toMatchObject({
      state: 'destroyed',
      hsmKey: 'destroyed',
    })
  })

  test('a key ceremony: the key of an administrator is ready on all hosts', async () => {
    const answers = await follow('Key ceremony', 0)
    expect(answers['keyturn verify --target 3']).toMatchObject({ ready: true })
  })

  test('a lost node: it is missing until it is decommissioned, and can be readmitted', async () => {
    await fleet.nodes.kill('vm-c')
    await fleet.until('its heartbeat does not expire', async () => {
      const { nodes } = await fleet.must('nodes')
      return nodes.find(({ node }) => node === 'vm-c')?.processes.length === 0
    })
    const missing = await fleet.cli('verify', '--target', '2')
    expect(missing).toMatchObject({ code: 3, json: { ready: false } })
    await follow('A lost node', 0)
    await follow('A lost node', 1)
    await fleet.nodes.start('vm-c')
  })

  test('a failed rotation is continued after its workflow was terminated', async () => {
    const running = fleet.start('rotate', '--to-version', '3', '--max-rate', '1')
    await fleet.rewrapped(1)
    await fleet.rotateWorkflow().terminate('by a test')
    expect((await running.end()).code).not.toBe(0)
    const answers = await follow('A failed rotation', 0)
    expect(answers['keyturn status']).toMatchObject({ abandoned: { to: 3 } })
    expect(rotations(answers)).toEqual(['completed'])
  })

  test('going back, and restoring records of the version that was left', async () => {
    const { collection } = places[0]
    const records = fleet.store.db.collection(collection)
    const dump: Document[] = await records.find().limit(5).toArray()
    const back = await follow('Going back', 0)
    expect(back['keyturn scan']).toMatchObject({ byVersion: { 2: envelopes } })

    await follow('Restoring a backup', 0)
    for (const record of dump) await records.replaceOne({ _id: record['_id'] as never }, record)
    const { json } = await fleet.cli('scan')
    expect(json).toMatchObject({ byVersion: { 2: envelopes - 5, 3: 5 } })
    const restored = await follow('Restoring a backup', 1)
    expect(restored['keyturn scan --unwrap']).toMatchObject({
      byVersion: { 2: envelopes },
      opened: envelopes,
      failed: [],
    })
    expect(await fleet.verifyRecords()).toEqual({ 2: envelopes })
  })

  test('changing the PIN: the workers go on with the new one', async () => {
    await follow('Changing the PIN', 0)
    const answers = await follow('Changing the PIN', 1)
    expect(answers['keyturn verify --target 2']).toMatchObject({ ready: true })
  })

  test('a leaver: the key that they could use is replaced and destroyed', async () => {
    const answers = await follow('A leaver with HSM access', 0)
    expect(rotations(answers)).toEqual(['completed'])
    expect(answers['keyturn remove --version 2 --destroy-hsm-key']).toMatchObject({
      state: 'destroyed',
      hsmKey: 'destroyed',
    })
    expect(await fleet.verifyRecords()).toEqual({ 4: envelopes })
  })

  test('has no command that was not run here', () => {
    const all = [...sections].flatMap(([name, blocks]) => blocks.map((_, at) => `${name} ${at}`))
    expect([...ran].toSorted()).toEqual(all.toSorted())
    const inText = page.match(/^\$ /gm)?.length
    expect(inText).toBe([...sections.values()].flat(2).length)
  })
})

/** The words of a command; quotes keep spaces. */
function wordsOf(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}
