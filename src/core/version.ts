/** The version of the installed package: for `--version`, the User-Agent and the status page. */

import { createRequire } from 'node:module'

export function packageVersion(): string {
  // By its own name: the same from here and from a bundle.
  const manifest: unknown = createRequire(import.meta.url)('lakebase-proxy/package.json')
  return (manifest as { version: string }).version
}
