/** Opens a resource, uses it, and always closes it. */
export async function held<T>(
  opening: Promise<T>,
  close: (resource: T) => Promise<void>,
  use: (resource: T) => Promise<void>,
): Promise<void> {
  const resource = await opening
  try {
    await use(resource)
  } finally {
    await close(resource)
  }
}
