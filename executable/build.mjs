/**
 * `npm run executable`: lakebase-proxy as one file for the system and Node.js that build it, in
 * build/executable. https://nodejs.org/docs/latest-v20.x/api/single-executable-applications.html
 *
 * Everything is in one CommonJS file, the status page's files are assets, and Node.js itself is the
 * rest. The emulator's PostgreSQL is not in it.
 */

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'
import { inject } from 'postject'

const top = fileURLToPath(new URL('..', import.meta.url))
const out = join(top, 'build/executable')
const isWindows = process.platform === 'win32'
const isMac = process.platform === 'darwin'
const script = join(out, 'main.cjs')
const executable = join(out, isWindows ? 'lakebase-proxy.exe' : 'lakebase-proxy')

mkdirSync(out, { recursive: true })
await build({
  entryPoints: [join(top, 'build/src/main.js')],
  outfile: script,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20.19',
  minifySyntax: true,
  logLevel: 'warning',
  // The place of the executable stands for that of the script.
  banner: { js: "const executableUrl = require('node:url').pathToFileURL(process.execPath).href;" },
  define: { 'import.meta.url': 'executableUrl' },
  plugins: [
    {
      name: 'packages in the bundle',
      setup({ onResolve }) {
        const path = join(top, 'executable/packages.cjs')
        // Packages of others keep Node's own.
        onResolve({ filter: /^node:module$/ }, ({ importer }) =>
          importer.startsWith(join(top, 'build/src')) ? { path } : undefined,
        )
      },
    },
  ],
})

writeFileSync(
  join(out, 'sea-config.json'),
  JSON.stringify({
    main: script,
    output: join(out, 'main.blob'),
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    assets: pageAssets(),
  }),
)
run(process.execPath, ['--experimental-sea-config', join(out, 'sea-config.json')])
copyFileSync(process.execPath, executable)
chmodSync(executable, 0o755)
// A signature is of the file as it was.
if (isMac) run('codesign', ['--remove-signature', executable])
await inject(executable, 'NODE_SEA_BLOB', readFileSync(join(out, 'main.blob')), {
  sentinelFuse: 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2',
  ...(isMac && { machoSegmentName: 'NODE_SEA' }),
})
if (isMac) run('codesign', ['--sign', '-', executable])
console.log(`${executable}: ${Math.round(statSync(executable).size / 1e6)} MB`)

/** By the names that src/observe/page-files.ts asks for. */
function pageAssets() {
  const page = join(top, 'src/observe/page')
  const uplot = join(top, 'node_modules/uplot/dist')
  const ours = readdirSync(page).filter((name) => name !== 'tsconfig.json')
  return {
    ...Object.fromEntries(ours.map((name) => [name, join(page, name)])),
    'uplot.js': join(uplot, 'uPlot.iife.min.js'),
    'uplot.css': join(uplot, 'uPlot.min.css'),
  }
}

function run(program, args) {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
}
