import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts'

const run = promisify(execFile)

export type ServerName = 'mongodb' | 'temporal'

/** A node's connections to the two servers, each of which a test can break. */
export interface Network {
  /** Overrides of the node's keyturn.yaml, so that it uses these connections. */
  readonly config: { mongodb: { uri: string }; temporal: { address: string } }
  /** A connection to MongoDB that is never lost, for an application's own writes beside its keyring. */
  readonly recordsUri: string
  /** Prefix of the command of each process of the node. */
  readonly within: readonly string[]
  /** Nothing gets through any more, without an error, as in a network that drops every packet. */
  lose(server: ServerName): Promise<void>
  heal(): Promise<void>
  close(): Promise<void>
}

/** A network through proxies of this process; needs no privileges. */
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

/** Whether this process may create network namespaces (root, and a kernel that allows it); prints a notice when not. */
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
 * Gives the node its own network namespace with a cable (a veth pair) to each server; the host's end of a cable is set down
 * and up. The servers listen on the loopback address only, so a proxy at the host's end forwards to them.
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
    // This also deletes its end of each cable, and with it the host's end.
    await ip('netns', 'del', name)
    throw error
  }
}

/** Returns the address of the host's end. */
async function layCable(
  ip: (...args: readonly string[]) => Promise<void>,
  namespace: string,
  cable: string,
): Promise<string> {
  // A random subnet of four addresses in 198.18.0.0/15, which is reserved for network tests (RFC 2544).
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
