import { describe, expect, test } from 'vitest'
import { prefetch } from '../../sweep/prefetch.ts'

function deferred() {
  let resolve!: () => void
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}

async function* count(to: number, log: string[]): AsyncGenerator<number, void> {
  try {
    for (let item = 1; item <= to; item++) {
      log.push(`made ${item}`)
      yield await Promise.resolve(item)
    }
  } finally {
    log.push('ended')
  }
}

async function collect<T>(source: AsyncGenerator<T, void>): Promise<T[]> {
  const items = []
  for await (const item of source) items.push(item)
  return items
}

describe('prefetch', () => {
  test('yields the items of its source in order', async () => {
    expect(await collect(prefetch(count(5, [])))).toEqual([1, 2, 3, 4, 5])
    expect(await collect(prefetch(count(0, [])))).toEqual([])
  })

  test('makes one item ahead of the consumer and never more', async () => {
    const log: string[] = []
    const items = prefetch(count(9, log))
    await items.next()
    await new Promise(setImmediate)
    expect(log).toEqual(['made 1', 'made 2'])
    await items.next()
    await new Promise(setImmediate)
    expect(log).toEqual(['made 1', 'made 2', 'made 3'])
    await items.return()
  })

  test('throws an error of its source after the items before it', async () => {
    async function* failing(): AsyncGenerator<number, void> {
      yield await Promise.resolve(1)
      throw new Error('token away')
    }
    const seen: number[] = []
    const all = async () => {
      for await (const item of prefetch(failing())) seen.push(item)
    }
    await expect(all()).rejects.toThrow('token away')
    expect(seen).toEqual([1])
  })

  test('awaits the next item and closes its source when the consumer returns early', async () => {
    const gate = deferred()
    const log: string[] = []
    async function* slow(): AsyncGenerator<number, void> {
      try {
        yield 1
        await gate.promise
        log.push('made 2')
        yield 2
      } finally {
        log.push('ended')
      }
    }
    const items = prefetch(slow())
    await items.next()
    const left = items.return().then(() => log.push('left'))
    await new Promise(setImmediate)
    expect(log).toEqual([])
    gate.resolve()
    await left
    expect(log).toEqual(['made 2', 'ended', 'left'])
  })

  test('drops an error of the next item when the consumer has returned early', async () => {
    const gate = deferred()
    async function* failing(): AsyncGenerator<number, void> {
      yield 1
      await gate.promise
      throw new Error('the consumer stops')
    }
    const items = prefetch(failing())
    await items.next()
    const left = items.return()
    gate.resolve()
    await expect(left).resolves.toMatchObject({ done: true })
  })
})
