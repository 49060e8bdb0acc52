import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { loadConfig } from '../config/load-config.ts'
import { ck, decrypt, encrypt, openModule, openSession } from '../providers/pkcs11/lane/driver.ts'
import { findOneKey } from '../providers/pkcs11/lane/key-objects.ts'
import { findToken } from '../providers/pkcs11/lane/token.ts'
import { readVersions } from '../store/kek-versions.ts'
import type { Fixture } from './fixture.ts'

/** The wrap of one envelope, as stored in the database. */
export interface PeerWrap {
  iv: Buffer
  wrapped: Buffer
}

/** How the peer script uses the keys: unwrap under one, wrap under the other, in its own thread, without a check. */
export interface PeerToken {
  rewrap(wrap: PeerWrap, aad: { from: Buffer; to: Buffer }, from: number, to: number): PeerWrap
  close(): void
}

const tagBytes = 16

export async function openPeerToken(fixture: Fixture): Promise<PeerToken> {
  return fixture.stack.provider === 'env' ? envToken(fixture) : await softToken(fixture)
}

function envToken({ stack }: Fixture): PeerToken {
  const prefix = loadConfig({ file: stack.configPath }).kek.env.variablePrefix
  const key = (version: number) => Buffer.from(stack.env[`${prefix}${version}`] ?? '', 'hex')
  const keys = new Map([1, 2].map((version) => [version, key(version)]))
  const keyOf = (version: number) => keys.get(version) ?? Buffer.alloc(0)
  return {
    rewrap({ iv, wrapped }, aad, from, to) {
      const opening = createDecipheriv('aes-256-gcm', keyOf(from), iv)
      opening.setAAD(aad.from).setAuthTag(wrapped.subarray(-tagBytes))
      const dek = Buffer.concat([opening.update(wrapped.subarray(0, -tagBytes)), opening.final()])
      const newIv = randomBytes(12)
      const closing = createCipheriv('aes-256-gcm', keyOf(to), newIv).setAAD(aad.to)
      const parts = [closing.update(dek), closing.final(), closing.getAuthTag()]
      return { iv: newIv, wrapped: Buffer.concat(parts) }
    },
    close: () => undefined,
  }
}

/** One session with one call after the other, as pkcs11js's README shows it. */
async function softToken({ stack, store }: Fixture): Promise<PeerToken> {
  const { pkcs11 } = loadConfig({ file: stack.configPath }).kek
  if (pkcs11?.pinFile === undefined) throw new Error('the stack has no token')
  const cryptoki = openModule(pkcs11.modulePath, pkcs11.moduleParameters ?? null)
  const handle = openSession(cryptoki, findToken(cryptoki, pkcs11.token).slot)
  cryptoki.C_Login(handle, ck.CKU_USER, readFileSync(pkcs11.pinFile, 'utf8'))
  const keys = new Map<number, Buffer>()
  for (const { _id, label } of await readVersions(store)) {
    keys.set(_id, findOneKey({ cryptoki, handle }, label, null))
  }
  const call = (version: number, iv: Buffer, aad: Buffer) => {
    return { key: keys.get(version) ?? Buffer.alloc(8), iv, ivBits: iv.length * 8, aad }
  }
  return {
    rewrap({ iv, wrapped }, aad, from, to) {
      const opening = call(from, iv, aad.from)
      const dek = decrypt(cryptoki, handle, opening, wrapped, Buffer.alloc(wrapped.length))
      const newIv = randomBytes(12)
      const room = Buffer.alloc(96)
      return { iv: newIv, wrapped: encrypt(cryptoki, handle, call(to, newIv, aad.to), dek, room) }
    },
    close: () => {
      cryptoki.C_CloseSession(handle)
      cryptoki.C_Finalize()
    },
  }
}
