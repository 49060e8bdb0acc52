import { Socket } from 'node:net'

/** Whether a server takes connections on this port of the loopback address now. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new Socket()
    const finish = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => {
      finish(true)
    })
    socket.once('error', () => {
      finish(false)
    })
    socket.connect(port, '127.0.0.1')
  })
}
