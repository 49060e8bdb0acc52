import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../config/load-config.ts'
import { searchAttributes } from '../../contracts/names.ts'
import { dynamicConfig, retention } from '../../devstack/temporal-server.ts'

interface Service {
  image?: string
  build?: { dockerfile: string }
  command?: string[]
  volumes?: string[]
  environment?: Record<string, string>
  ports?: string[]
  depends_on?: Record<string, { condition: string }>
  healthcheck?: { test: string[] }
}
interface Compose {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}

const compose = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true }) as Compose
const service = (name: string): Service => compose.services[name] ?? {}

// These tests have no Docker engine: they read the file, which is run by hand.
describe('docker-compose.yml', () => {
  test('has Temporal, MongoDB as a replica set, a token, and two workers', () => {
    expect(Object.keys(compose.services)).toEqual(
      expect.arrayContaining(['mongodb', 'temporal', 'token', 'vm-a', 'vm-b']),
    )
    expect(service('mongodb').command).toContain('--replSet')
    expect(service('vm-a').command).toEqual(['worker', '--node', 'vm-a'])
    expect(service('vm-b').command).toEqual(['worker', '--node', 'vm-b'])
  })

  test('registers every search attribute of the product', () => {
    for (const name of Object.values(searchAttributes)) {
      expect(service('temporal').command).toContain(`--search-attribute=${name}=Keyword`)
    }
  })

  test('runs Temporal with the settings of the embedded one', () => {
    for (const value of dynamicConfig) {
      expect(service('temporal').command).toContain(`--dynamic-config-value=${value}`)
    }
    expect(service('temporal').healthcheck?.test).toContain(retention)
  })

  test('waits for healthy services, and only for those with a health check', () => {
    for (const [name, { condition }] of Object.entries(service('vm-a').depends_on ?? {})) {
      if (condition === 'service_healthy') expect(service(name).healthcheck, name).toBeDefined()
      else expect(condition).toBe('service_completed_successfully')
    }
  })

  test('mounts only volumes that it declares and files that exist', () => {
    for (const { volumes = [] } of Object.values(compose.services)) {
      for (const volume of volumes) {
        const [source = ''] = volume.split(':')
        if (source.startsWith('./')) expect(existsSync(source), source).toBe(true)
        else expect(Object.keys(compose.volumes)).toContain(source)
      }
    }
  })

  test('publishes ports on the loopback interface of the host only', () => {
    const ports = Object.values(compose.services).flatMap((each) => each.ports ?? [])
    expect(ports).toContain('127.0.0.1:9464:9464')
    expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([])
  })

  test('makes the files that the configuration names', () => {
    const script = readFileSync('deploy/make-token.sh', 'utf8')
    const { kek, worker } = loadConfig({ file: 'deploy/keyturn.yaml', env: {} })
    for (const file of [kek.pkcs11?.pinFile, worker.tokenFile]) {
      expect(script).toMatch(new RegExp(`>${file?.replace('/token/', '') ?? '?'}$`, 'm'))
    }
  })

  test('gives both workers a configuration that the product accepts', () => {
    const config = loadConfig({ file: 'deploy/keyturn.yaml', env: {} })
    const pinFile = config.kek.pkcs11?.pinFile ?? ''
    expect(pinFile.startsWith('/token/')).toBe(true)
    expect(config.worker.tokenFile?.startsWith('/token/')).toBe(true)
    expect(service('vm-b').environment?.['SOFTHSM2_CONF']).toBe('/token/softhsm2.conf')
    expect(config.temporal.address).toBe('temporal:7233')
    expect(config.mongodb.uri).toContain('mongodb:27017')
  })
})

describe('deploy/Dockerfile', () => {
  test('copies only files that exist', () => {
    const dockerfile = readFileSync('deploy/Dockerfile', 'utf8')
    const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)]
    expect(copies.length).toBeGreaterThan(1)
    for (const [, sources = ''] of copies) {
      for (const source of sources.split(' ')) expect(existsSync(source), source).toBe(true)
    }
  })
})
