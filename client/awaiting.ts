/** For whoever shows progress: what this process waits for. */
export { tellLongWaits } from '../store/awaiting.ts'
