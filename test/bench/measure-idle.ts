/**
 * Sessions that only idle: what each costs in memory, and what thousands of them cost the busy ones
 * beside them. A stand-in is their far server.
 */

import type { Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Bench } from './bench.js'
import { fill, pgbench } from './measure-pgbench.js'
import { freePort, Process } from './processes.js'
import { openSessions } from './sessions.js'
import { type Destination, startProxy, startStunnel, startWay, type Way } from './ways.js'

const SETTLE_MS = 2_000

export async function measureMemory(bench: Bench): Promise<void> {
  await withGreeter(bench, async (greeter) => {
    for (let round = 0; round < Math.min(bench.rounds, 3); round++) {
      for (const name of bench.ways) {
        if (name !== 'proxy' && name !== 'stunnel') continue
        const way = await startWay(name, greeter, bench.folder)
        const sockets: Socket[] = []
        try {
          await settle()
          const atRest = way.process!.residentBytes
          await openSessions(way.port, 1_000, sockets)
          await settle()
          const at1000 = way.process!.residentBytes
          await openSessions(way.port, 1_000, sockets)
          await settle()
          const at2000 = way.process!.residentBytes
          bench.samples.add('memory', name, {
            'bytes at rest': atRest,
            'bytes/session at 1,000': (at1000 - atRest) / 1_000,
            'bytes/session at 2,000': (at2000 - atRest) / 2_000,
          })
        } finally {
          for (const socket of sockets) socket.destroy()
          await way.process?.stop('SIGKILL')
        }
      }
    }
  })
}

export async function measureBeside(bench: Bench): Promise<void> {
  await fill(bench)
  await withGreeter(bench, async (greeter) => {
    const both = [bench.far, greeter]
    for (let round = 0; round < Math.min(bench.rounds, 3); round++) {
      for (const name of bench.ways) {
        if (name !== 'proxy' && name !== 'stunnel') continue
        const start = name === 'proxy' ? startProxy : startStunnel
        const [busy, idle] = (await start(both, bench.folder)) as [Way, Way]
        const sockets: Socket[] = []
        try {
          const without = await pgbench(bench, busy, ['-S', '-c', '16'])
          await openSessions(idle.port, bench.quick ? 2_000 : 5_000, sockets)
          await settle()
          const beside = await pgbench(bench, busy, ['-S', '-c', '16'])
          bench.samples.add('beside', name, {
            'queries/s without': without.perSecond,
            'queries/s beside': beside.perSecond,
            'rate of rate without': beside.perSecond / without.perSecond,
          })
        } finally {
          for (const socket of sockets) socket.destroy()
          await busy.process?.stop('SIGKILL')
        }
      }
    }
  })
}

const GREETER = fileURLToPath(new URL('greeter.js', import.meta.url))

export async function withGreeter(
  { far, folder }: Bench,
  act: (greeter: Destination) => Promise<void>,
): Promise<void> {
  const port = await freePort()
  const command = [process.execPath, GREETER, String(port), far.sslcert, far.sslkey]
  const greeter = new Process(command, join(folder, 'greeter.log'))
  try {
    await greeter.listening(port)
    await act({ ...far, port })
  } finally {
    await greeter.stop('SIGKILL')
  }
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
}
