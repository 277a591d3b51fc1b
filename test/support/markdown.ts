/** The documentation as tests see it: pages, headings, links, and code blocks with their marks. */

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

export interface Page {
  /** From the top of the repository. */
  readonly path: string
  readonly text: string
}

export interface CodeBlock {
  readonly page: string
  readonly line: number
  readonly language: string
  readonly text: string
  readonly mark: Mark | undefined
}

/**
 * The HTML comment right above a block: `<!-- run: NAME -->` has a test of its own under that
 * name, `<!-- stays -->` runs until it is stopped, and `<!-- not run: REASON -->` says why not.
 */
export interface Mark {
  readonly kind: 'run' | 'not run' | 'stays'
  readonly words: string
}

export interface Link {
  readonly page: string
  readonly target: string
  /** From the top of the repository; undefined for another site. */
  readonly file: string | undefined
  readonly anchor: string | undefined
}

export const PAGES: readonly Page[] = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'],
  ...readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => join('docs', name)),
].map((path) => ({ path, text: readFileSync(path, 'utf8') }))

/** Fenced blocks in their order; the indentation of one inside a list is taken off. */
export function codeBlocks({ path, text }: Page): CodeBlock[] {
  const blocks: CodeBlock[] = []
  const fence = /^( *)```(\w*)[^\n]*\n([\s\S]*?)^\1```$/gm
  for (const { index, 1: indent = '', 2: language = '', 3: inner = '' } of text.matchAll(fence)) {
    const above = text.slice(0, index)
    const mark = /<!-- (run|not run|stays)(?:: ([^\n]*?))? -->\s*$/.exec(above)
    blocks.push({
      page: path,
      line: above.split('\n').length,
      language,
      text: inner.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      mark: mark === null ? undefined : { kind: mark[1] as Mark['kind'], words: mark[2] ?? '' },
    })
  }
  return blocks
}

/** The targets of links, images and `src` of HTML, outside code. */
export function links({ path, text }: Page): Link[] {
  const prose = withoutCode(text)
  const targets = [
    ...prose.matchAll(/\]\(<?([^)\s>]+)>?(?: "[^"]*")?\)/g),
    ...prose.matchAll(/\b(?:src|srcset|href)="([^"]+)"/g),
  ].map(([, target]) => target!)
  return targets.map((target) => {
    if (/^[a-z]+:/.test(target)) return { page: path, target, file: undefined, anchor: undefined }
    const [file = '', anchor] = target.split('#')
    const resolved = file === '' ? path : normalize(join(dirname(path), file))
    return { page: path, target, file: resolved, anchor }
  })
}

/** The anchors of its headings, as GitHub makes them. */
export function anchors({ text }: Page): string[] {
  const seen = new Map<string, number>()
  return [...text.replaceAll(FENCED, '').matchAll(/^#{1,6} +(.+)$/gm)].map(([, heading]) => {
    const plain = heading!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll(/[`*]/g, '')
    const slug = plain
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-')
    const before = seen.get(slug) ?? 0
    seen.set(slug, before + 1)
    return before === 0 ? slug : `${slug}-${before}`
  })
}

const FENCED = /^( *)```[\s\S]*?^\1```$/gm

function withoutCode(text: string): string {
  return text.replaceAll(FENCED, '').replaceAll(/`[^`\n]*`/g, '')
}
