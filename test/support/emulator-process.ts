/** A process that starts an emulator, says where, and never closes it: for tests that end it. */

import { dirname } from 'node:path'

import { startEmulator } from './emulator-control.js'

const emulator = await startEmulator()
const { caFile, control } = emulator
console.log(JSON.stringify({ pid: control.postgresPid, directory: dirname(caFile) }))
