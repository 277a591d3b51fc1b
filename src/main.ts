#!/usr/bin/env node
/** The only file of the command line that uses the process's arguments, environment, streams, signals and exit code. */

import { closeSync } from 'node:fs'
import { homedir, hostname } from 'node:os'
import { isSea } from 'node:sea'
import { setTimeout } from 'node:timers/promises'
import { isatty } from 'node:tty'
import { fileURLToPath } from 'node:url'
import { runCommandLine } from './commands/cli/program.js'
import type { StopSignal, Surroundings } from './commands/invocation/command.js'
import { describeFailure } from './core/errors.js'

/** How long a terminal that is stopped, or a pipe that is full, may keep a process that has ended. */
const MESSAGES_WAIT_MS = 1_000

const SIGNALS: readonly StopSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

let reportCrash = (error: unknown): void => void process.stderr.write(describeFailure(error))

const surroundings: Omit<Surroundings, 'prompt'> = {
  env: process.env,
  machine: {
    cwd: process.cwd(),
    homeDir: homedir(),
    hostname: hostname(),
    platform: process.platform,
    isTerminal: process.stderr.isTTY === true,
  },
  uid: process.getuid?.() ?? 0,
  // A single executable is its own script.
  command: isSea() ? [process.execPath] : [process.execPath, fileURLToPath(import.meta.url)],
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  onSignal(listener) {
    const listeners = SIGNALS.map((signal) => [signal, () => listener(signal)] as const)
    for (const [signal, listen] of listeners) process.on(signal, listen)
    return () => {
      for (const [signal, listen] of listeners) process.off(signal, listen)
    }
  },
  onCrash(report) {
    reportCrash = report
  },
}

/** After an uncaught error the state of the process cannot be trusted: report it and exit. */
function crash(error: unknown): void {
  reportCrash(error)
  process.exit(1)
}
process.on('uncaughtException', crash)
process.on('unhandledRejection', crash)

// Otherwise Node answers it with a debugger on loopback, by which every user of this machine could read
// what the process holds.
process.on('SIGUSR1', () => {})

// Node makes terminals block, so Ctrl-S would stop the proxy. `exec` hands them to a child, for which
// libuv makes them block again: then both stop together.
if (process.platform !== 'win32') {
  for (const stream of [process.stdout, process.stderr]) unblock(stream)
}

function unblock(stream: object & { _handle?: { setBlocking?(on: boolean): void } }): void {
  stream._handle?.setBlocking?.(false)
}

// It is not an error that a reader such as `head` goes away. A closed terminal sends SIGHUP too.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

// Before 24.1, Node aborts at its end when a terminal it began with is gone; not if its file is closed.
// https://github.com/nodejs/node/pull/58200
const terminals = [0, 1, 2].filter((fd) => isatty(fd))
process.on('exit', () => {
  for (const fd of terminals) if (!isatty(fd)) closeSync(fd)
})

async function main(): Promise<void> {
  // What a command waits for may hold nothing open, such as a timer between two questions.
  const alive = setInterval(() => {}, 2 ** 30)
  const exitCode = await runCommandLine(process.argv.slice(2), surroundings)
  clearInterval(alive)
  // All of stdout is written, and stderr for a while. Nothing else that is open keeps the process.
  const toldEnough = setTimeout(MESSAGES_WAIT_MS)
  await Promise.all([
    new Promise((resolve) => process.stdout.write('', resolve)),
    Promise.race([new Promise((resolve) => process.stderr.write('', resolve)), toldEnough]),
  ])
  process.exit(exitCode)
}

main().catch(crash)
