/** Blocks the calling thread. For lanes only: they do nothing but wait for their module anyway. */
export function pauseThread(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}
