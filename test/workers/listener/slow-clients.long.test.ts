import { expect, test } from 'vitest'
import { connectTo, listener } from './support.ts'

// Node looks for late connections each second.
const withinMs = 10_000 + 3_000

const header = 'GET /healthz HTTP/1.1\r\nX: '
const withBody =
  'GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n'

/** What each slow client sends every half second. */
const clients: Record<string, (round: number) => string> = {
  nothing: () => '',
  'a byte of a header': (round) => header[round] ?? 'a',
  'a body without end': (round) => (round === 0 ? withBody : '1\r\na\r\n'),
}

test('slow clients are closed ten seconds after they connected', async () => {
  const { address } = await listener()
  const times = Object.entries(clients).map(async ([name, part]) => {
    const began = performance.now()
    const socket = connectTo(address)
    socket.on('error', () => undefined).resume()
    let round = 0
    const sending = setInterval(() => {
      const text = part(round++)
      if (text !== '' && socket.writable) socket.write(text)
    }, 500)
    await new Promise((resolve) => socket.once('close', resolve))
    clearInterval(sending)
    return [name, performance.now() - began < withinMs]
  })
  expect(Object.fromEntries(await Promise.all(times))).toEqual(
    Object.fromEntries(Object.keys(clients).map((name) => [name, true])),
  )
})
