import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts'

const run = promisify(execFile)

export type ServerName = 'mongodb' | 'temporal'

/** A node's ways to the two servers, each of which a test can break. */
export interface Network {
  /** What is laid over the node's keyturn.yaml, so that it takes them. */
  readonly config: { mongodb: { uri: string }; temporal: { address: string } }
  /** Another way to MongoDB, which is never lost: for what an application writes besides its keyring. */
  readonly recordsUri: string
  /** Stands before the command of each process of the node. */
  readonly within: readonly string[]
  /** Nothing gets through any more, and nobody is told: like a network that drops every packet. */
  lose(server: ServerName): Promise<void>
  heal(): Promise<void>
  close(): Promise<void>
}

/** Through proxies of this process: needs no rights. */
export async function openProxyNetwork(): Promise<Network> {
  const proxies = await proxiesAt('127.0.0.1', '127.0.0.1')
  return {
    config: configOf(proxies),
    recordsUri: inject('mongoUri'),
    within: [],
    lose: async (server) => proxies[server].hold(),
    heal: async () => healAll(proxies),
    async close() {
      healAll(proxies)
      await closeAll(proxies)
    },
  }
}

/** Whether this process may make network namespaces (root, and a kernel that allows it); says aloud when not. */
export async function canMakeNamespaces(): Promise<boolean> {
  const name = `kt-try-${process.pid}`
  try {
    await run('ip', ['netns', 'add', name])
    await run('ip', ['netns', 'del', name])
    return true
  } catch (error) {
    const [why = ''] = (error as { stderr?: string }).stderr?.split('\n') ?? []
    console.error(`no network namespaces here, their tests are skipped: ${why || String(error)}`)
    return false
  }
}

/**
 * A network namespace of the node's own, with a cable (a veth pair) to each server; the host's end of a cable is taken
 * down and up. Since the servers listen on the loopback address only, a proxy at the host's end leads on to them.
 */
export async function openNamespaceNetwork(): Promise<Network> {
  const id = randomBytes(3).toString('hex')
  const name = `kt-${id}`
  const ip = async (...args: readonly string[]) => {
    await run('ip', [...args])
  }
  const cables = { mongodb: `kt${id}m`, temporal: `kt${id}t`, records: `kt${id}r` }
  await ip('netns', 'add', name)
  try {
    await ip('-n', name, 'link', 'set', 'lo', 'up')
    const hosts = {
      mongodb: await layCable(ip, name, cables.mongodb),
      temporal: await layCable(ip, name, cables.temporal),
    }
    const proxies = await proxiesAt(hosts.mongodb, hosts.temporal)
    const records = await openTcpProxy(inject('mongoUri'), await layCable(ip, name, cables.records))
    return {
      config: configOf(proxies),
      recordsUri: records.uri,
      within: ['ip', 'netns', 'exec', name],
      lose: (server) => ip('link', 'set', cables[server], 'down'),
      async heal() {
        for (const cable of Object.values(cables)) await ip('link', 'set', cable, 'up')
      },
      async close() {
        await closeAll(proxies)
        await records.close()
        await ip('netns', 'del', name)
      },
    }
  } catch (error) {
    // Its end of each cable goes with it, and with that the host's.
    await ip('netns', 'del', name)
    throw error
  }
}

/** Answers the address of the host's end. */
async function layCable(
  ip: (...args: readonly string[]) => Promise<void>,
  namespace: string,
  cable: string,
): Promise<string> {
  // Of 198.18.0.0/15, which is set aside for tests of networks (RFC 2544); a subnet of four addresses, by chance.
  const [second = 0, third = 0, fourth = 0] = randomBytes(3)
  const subnet = `198.${18 + (second % 2)}.${third}`
  const low = fourth - (fourth % 4)
  const peer = `${cable}n`
  await ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', peer, 'netns', namespace)
  await ip('addr', 'add', `${subnet}.${low + 1}/30`, 'dev', cable)
  await ip('link', 'set', cable, 'up')
  await ip('-n', namespace, 'addr', 'add', `${subnet}.${low + 2}/30`, 'dev', peer)
  await ip('-n', namespace, 'link', 'set', peer, 'up')
  return `${subnet}.${low + 1}`
}

type Proxies = Readonly<Record<ServerName, TcpProxy>>

async function proxiesAt(mongodbHost: string, temporalHost: string): Promise<Proxies> {
  const mongodb = await openTcpProxy(inject('mongoUri'), mongodbHost)
  const temporal = await openTcpProxy(`tcp://${inject('temporalAddress')}`, temporalHost)
  return { mongodb, temporal }
}

function configOf({ mongodb, temporal }: Proxies): Network['config'] {
  return { mongodb: { uri: mongodb.uri }, temporal: { address: temporal.address } }
}

function healAll({ mongodb, temporal }: Proxies): void {
  mongodb.heal()
  temporal.heal()
}

async function closeAll({ mongodb, temporal }: Proxies): Promise<void> {
  await Promise.all([mongodb.close(), temporal.close()])
}
