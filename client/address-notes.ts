export { addressNotes } from '../store/mongodb-address.ts'
