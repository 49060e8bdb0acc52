/** Stops this very thread: for lanes only, which do nothing but wait for their module anyway. */
export function pauseThread(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}
