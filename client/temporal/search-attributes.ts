import { isGrpcServiceError } from '@temporalio/client'
import { searchAttributes } from '../../contracts/names.ts'
import type { TemporalLink } from './connection.ts'

/** INDEXED_VALUE_TYPE_KEYWORD of temporal.api.enums.v1. */
const keyword = 2
/** gRPC ALREADY_EXISTS. */
const alreadyExists = 6

/** Keyturn's search attributes that are not registered in the namespace yet. */
export async function missingAttributes({ client, namespace }: TemporalLink): Promise<string[]> {
  const { customAttributes } = await client.connection.operatorService.listSearchAttributes({
    namespace,
  })
  const known = new Set(Object.keys(customAttributes))
  return Object.values(searchAttributes).filter((name) => !known.has(name))
}

/** Registers the missing search attributes and returns them. That another client registers them first is no error. */
export async function registerAttributes(link: TemporalLink): Promise<string[]> {
  const missing = await missingAttributes(link)
  if (missing.length === 0) return []
  try {
    await link.client.connection.operatorService.addSearchAttributes({
      namespace: link.namespace,
      searchAttributes: Object.fromEntries(missing.map((name) => [name, keyword])),
    })
  } catch (error) {
    const code: number | null = isGrpcServiceError(error) ? error.code : null
    if (code !== alreadyExists) throw error
  }
  return missing
}
