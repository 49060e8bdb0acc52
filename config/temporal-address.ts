/** Whether it can be an address of Temporal's front end: no URL, and no blanks. */
export function isTemporalAddress(text: string): boolean {
  return /^[^\s/]+$/.test(text)
}

export const notAnAddress = 'must be host:port, such as "127.0.0.1:7233"'
