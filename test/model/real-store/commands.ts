import fc from 'fast-check'
import { isInvalidDocument } from '../../../store/server-errors.ts'
import { requireInvariants, countUnder } from './invariants.ts'
import { freezeSweep } from './frozen-sweep.ts'
import { forge, removeOn, undo } from './removal.ts'
import type { Application } from './application.ts'
import { cancel, goOn, startFinishing } from './rotation.ts'
import { letPass, place, recordIds, type World } from './world.ts'

type Run = (world: World) => Promise<unknown>

/** There is no model beside the real store: the invariants are checked on it after each step. */
class Step implements fc.AsyncCommand<object, World> {
  readonly #name: string
  readonly #run: Run

  constructor(name: string, run: Run) {
    this.#name = name
    this.#run = run
  }

  check(): boolean {
    return true
  }

  async run(_model: object, world: World): Promise<void> {
    const said = await this.#run(world)
    world.story.push(`${this.#name}${typeof said === 'string' ? `: ${said}` : ''}`)
    await requireInvariants(world)
  }

  toString(): string {
    return this.#name
  }
}

/** A step that no application takes: it must not write under a version that settle has left. */
const guarded =
  (run: Run): Run =>
  async (world) => {
    const before = await countUnder(world, world.left)
    const left = [...world.left]
    const said = await run(world)
    const after = await countUnder(world, new Set(left.filter((one) => world.left.has(one))))
    for (const [version, count] of after) {
      if (count > (before.get(version) ?? 0)) {
        throw new Error(`a sweep wrote under version ${version} after settle had left it`)
      }
    }
    return said
  }

const any = (weight: number, name: string, run: Run) => {
  return { weight, arbitrary: fc.constant(new Step(name, run)) }
}
const byApplication = (
  weight: number,
  name: string,
  run: (world: World, app: Application) => Promise<unknown>,
) => {
  const stepOf = (at: number) => {
    return new Step(`app-${at} ${name}`, async (world) => run(world, applicationOf(world, at)))
  }
  return { weight, arbitrary: fc.nat({ max: 1 }).map(stepOf) }
}
const byRecord = (
  weight: number,
  name: string,
  run: (world: World, id: string, app: Application) => Promise<unknown>,
) => {
  const stepOf = ([id, at]: [string, number]) => {
    const say = `app-${at} ${name} ${id}`
    return new Step(say, async (world) => run(world, id, applicationOf(world, at)))
  }
  const which = fc.tuple(fc.constantFrom(...recordIds), fc.nat({ max: 1 }))
  return { weight, arbitrary: which.map(stepOf) }
}

/** Steps of rotations are the most frequent, so that rotations make progress. */
export const commands = (maxCommands: number) =>
  fc.commands(
    [
      fc.oneof(
        any(44, 'the rotation goes on', guarded(goOn)),
        any(18, 'all beat', async (world) => {
          for (const app of world.apps) await app.beat(world)
        }),
        any(18, 'time goes on', async (world) => {
          world.passedMs = await letPass(world, 25_000)
        }),
        byApplication(4, 'beats', (world, app) => app.beat(world)),
        byApplication(3, 'writes a heartbeat', (world, app) => app.send(world)),
        byApplication(3, 'reads kek_active', (world, app) => app.follow(world)),
        byRecord(8, 'seals', seal),
        byApplication(6, 'writes what it has', async (world, app) =>
          (await app.write(world)) ? 'written' : 'not written',
        ),
        byRecord(2, 'keeps a copy of', copy),
        any(2, 'an old copy is written back', restore),
        any(4, 'a worker takes a page and is frozen', async (world) =>
          world.rotation === null ? 'no rotation' : `${await freezeSweep(world, world.rotation)}`,
        ),
        any(3, 'a frozen worker wakes', guarded(thaw)),
        any(6, 'the removal goes on', removeOn),
        any(1, 'the removal is undone', undo),
        { weight: 6, arbitrary: fc.nat({ max: 15 }).map(forged) },
        any(1, 'a rotation begins that finishes another', startFinishing),
        any(1, 'the rotation is cancelled', guarded(cancel)),
        any(1, 'the workflow of the rotation is terminated', async (world) => {
          world.rotation = null
        }),
      ),
    ],
    { maxCommands, size: 'max' },
  )

const forged = (at: number) =>
  new Step(`a step of a removal is forged (${at})`, async (world) => forge(world, at))

function applicationOf({ apps }: World, at: number): Application {
  const app = apps[at]
  if (app === undefined) throw new Error(`no application ${at}`)
  return app
}

async function seal(world: World, id: string, app: Application): Promise<string> {
  const version = await app.seal(world, id)
  if (version !== null && world.left.has(version)) {
    throw new Error(`${app.node} wrapped under version ${version} after settle`)
  }
  return version === null ? 'it may not' : `under ${version}`
}

async function thaw({ frozen }: World): Promise<string> {
  return (await frozen.shift()?.thaw()) ?? 'nobody'
}

async function copy({ store, contents, copies }: World, id: string): Promise<void> {
  const document = await store.db.collection<{ _id: string }>(place.collection).findOne({ _id: id })
  const content = contents.get(id)
  if (document !== null && content !== undefined) copies.push({ document, content })
}

/** Writes an earlier state of a record, as an application that knows nothing of keys would. */
async function restore({ store, contents, copies }: World): Promise<string> {
  const old = copies.shift()
  if (old === undefined) return 'no copy'
  const id = old.document['_id'] as string
  try {
    const records = store.db.collection<{ _id: string }>(place.collection)
    await records.replaceOne({ _id: id }, old.document)
    contents.set(id, old.content)
    return id
  } catch (error) {
    if (isInvalidDocument(error)) return 'refused by the fence'
    throw error
  }
}
