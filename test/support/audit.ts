/**
 * `npm run audit`: does npm's registry know of a weakness in what this package runs on? One that is
 * high or critical fails; others are told. A registry that does not answer, as behind a mirror or
 * without a network, is not a finding: it is reported, and passes.
 */

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export interface Audit {
  readonly passed: boolean
  readonly lines: readonly string[]
}

interface Report {
  readonly vulnerabilities?: Readonly<Record<string, Vulnerability>>
}

interface Vulnerability {
  readonly name: string
  readonly severity: string
  readonly range: string
  readonly via: readonly (string | { readonly title: string; readonly url: string })[]
}

/** `registry`: npm's own setting, if left out. */
export async function audit(registry?: string): Promise<Audit> {
  const report = await askNpm(registry === undefined ? [] : [`--registry=${registry}`])
  if (report?.vulnerabilities === undefined) {
    return { passed: true, lines: ['audit: the registry did not answer, nothing was looked at'] }
  }
  const found = Object.values(report.vulnerabilities)
  const isGrave = ({ severity }: Vulnerability): boolean => /^(high|critical)$/.test(severity)
  return {
    passed: !found.some(isGrave),
    lines: found.length === 0 ? ['audit: nothing is known'] : found.map(inWords),
  }
}

async function askNpm(args: readonly string[]): Promise<Report | undefined> {
  const command = ['audit', '--omit=dev', '--json', '--fetch-retries=0', '--fetch-timeout=20000']
  // With findings npm ends with 1, and the report is on stdout all the same.
  const { stdout } = await promisify(execFile)('npm', [...command, ...args], {
    timeout: 60_000,
    shell: process.platform === 'win32',
  }).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }))
  try {
    return JSON.parse(stdout) as Report
  } catch {
    return undefined
  }
}

function inWords({ name, severity, range, via }: Vulnerability): string {
  const reasons = via.map((each) =>
    typeof each === 'string' ? `by ${each}` : `${each.title} (${each.url})`,
  )
  return `audit: ${severity}: ${name} ${range}: ${reasons.join(', ')}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { passed, lines } = await audit()
  for (const line of lines) console.log(line)
  process.exitCode = passed ? 0 : 1
}
