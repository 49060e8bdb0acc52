import { serverCodes } from './server-codes.ts'

/** Hints for refusals of MongoDB. */
export const hints = {
  login:
    'check user, password, authSource and authMechanism of mongodb.uri (or KEYTURN_MONGODB_URI)',
  roles: 'give it the role of docs/security.md, or readWrite and dbAdmin on the database',
  missing: 'install what is missing, or take the option that needs it out of the address',
  majority:
    'a member that holds data is down or lags behind: rs.status() shows it, and keyturn doctor shows what to do',
  slow: 'db.currentOp() shows what it is busy with, or what holds a lock',
  statement: 'look at the log of mongod; it has to be a version that keyturn supports',
}

/** By the server's error code. */
const byCode: Readonly<Record<number, string>> = {
  [serverCodes.outOfDiskSpace]: 'make room on the disk of mongod',
  [serverCodes.unknownReplWriteConcern]:
    'the replica set has no such write concern: look at rs.conf()',
}

export function statementHint(code: number | null): string {
  return byCode[code ?? 0] ?? hints.statement
}

/** Hints by the result of the server search. */
export function searchHint(reason: string): string {
  const found = searchHints.find(([pattern]) => pattern.test(reason))
  return found?.[1] ?? 'is it running, and is mongodb.uri (or KEYTURN_MONGODB_URI) right?'
}

const searchHints: readonly (readonly [RegExp, string])[] = [
  [
    /ENOTFOUND|EAI_AGAIN/,
    'is the host in mongodb.uri right, and does the DNS of this host know it?',
  ],
  [
    /none of its servers|not in the replica set/,
    'rs.status() on the server shows its name: set replicaSet= in mongodb.uri to it',
  ],
  [
    /has no primary/,
    'an election takes some seconds; else start the other members: rs.status() shows them',
  ],
  [/no replica set configuration/, 'run rs.initiate() once on the server'],
  [
    /self.signed|certificate|altname|issuer/i,
    'name the CA of the server with tlsCAFile, and the host as its certificate does',
  ],
  [
    /before secure TLS|wrong version number|unsupported protocol|handshake|packet length/i,
    'does the server speak TLS? if not, take tls=true out of the address',
  ],
  [
    /connection .* closed|ECONNRESET|socket hang up/i,
    'does the server want TLS? then add tls=true; is it a MongoDB?',
  ],
  [
    /timed out|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/i,
    'is a firewall in between, and is the server busy?',
  ],
]
