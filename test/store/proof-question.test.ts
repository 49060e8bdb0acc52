import { beforeEach, describe, expect, test } from 'vitest'
import { countingNonces } from '../../protocol/proof-question.ts'
import { readForBeat } from '../../store/beat-reading.ts'
import { askForProof, readQuestions } from '../../store/proof-question.ts'
import { otherProcess, testStore } from './support.ts'

const store = await testStore()
const other = await otherProcess(store)
const openMs = 60_000

beforeEach(async () => {
  await store.db.collection('kek_questions').deleteMany({})
})

describe('a question for proofs', () => {
  test('is read with the keystore by each heartbeat', async () => {
    const asked = await askForProof(store, { nonce: 'a', target: 2, openMs })
    const { question, now } = await readForBeat(store, 'vm-a', 'host')
    expect(question).toMatchObject({ nonce: 'a', target: 2 })
    expect(asked.getTime()).toBeLessThanOrEqual(now.getTime())
  })

  test('asked again with its nonce is the same question', async () => {
    const first = await askForProof(store, { nonce: 'a', target: 2, openMs })
    await askForProof(store, { nonce: 'b', target: 2, openMs })
    expect(await askForProof(store, { nonce: 'a', target: 2, openMs })).toEqual(first)
    expect((await readQuestions(store)).map(({ nonce }) => nonce)).toEqual(['a', 'b'])
  })

  test('names all versions while one of another version is open, and answers to it count for both', async () => {
    await askForProof(store, { nonce: 'a', target: 2, openMs })
    await askForProof(store, { nonce: 'b', target: 3, openMs })
    const asked = await readQuestions(store)
    expect(asked).toEqual([
      { nonce: 'a', target: 2 },
      { nonce: 'b', target: null },
    ])
    expect(countingNonces(asked, 'a', 2)).toEqual(['a', 'b'])
    expect(countingNonces(asked, 'b', 3)).toEqual(['b'])
  })

  test('names only its own version when the one before is no longer open', async () => {
    await askForProof(store, { nonce: 'a', target: 2, openMs })
    await askForProof(store, { nonce: 'b', target: 3, openMs: 0 })
    expect(await readQuestions(store)).toEqual([{ nonce: 'b', target: 3 }])
  })

  test('is not lost when two ask at once', async () => {
    await Promise.all([
      askForProof(store, { nonce: 'a', target: 2, openMs }),
      askForProof(other, { nonce: 'b', target: 3, openMs }),
    ])
    const asked = await readQuestions(store)
    expect(asked.map(({ nonce }) => nonce).sort()).toEqual(['a', 'b'])
    expect(asked.at(-1)?.target).toBeNull()
  })
})
