import { openKeyring } from '../keyring/index.ts'

/** An application of `real-fleet.ts`: a keyring, until its parent lets it go. */
const keyring = await openKeyring({
  config: process.env['KEYTURN_CONFIG'] ?? '',
  node: process.env['KEYTURN_NODE'] ?? '',
})
keyring.on('version-switched', () => process.send?.(Date.now()))
process.on('disconnect', () => void keyring.close().finally(() => process.exit()))
process.send?.('open')
