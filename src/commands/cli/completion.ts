/** `completion`: scripts for bash, zsh and fish, written from the tree of commands and flags. */

import type { Command as Commander, Option } from 'commander'

import { isSettingName, SETTINGS } from '../../config/schema/table.js'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

export type Shell = (typeof SHELLS)[number]

interface Flag {
  readonly long: string
  readonly help: string
  /** The words that may follow; undefined when the flag takes no value, empty for any text. */
  readonly values: readonly string[] | undefined
  readonly isFile: boolean
}

interface Node {
  /** The words that lead here: none, `url`, `instances list`. */
  readonly path: string
  readonly help: string
  readonly children: readonly Node[]
  /** What its operand may be, where that is one of a few words. */
  readonly operands: readonly string[]
  readonly flags: readonly Flag[]
}

/** `byDefault`: the command that runs when none is named. */
type Root = Node & { readonly byDefault: string }

export function completionScript(shell: Shell, tree: Commander, byDefault: string): string {
  const root = { ...nodeOf(tree, ''), byDefault }
  switch (shell) {
    case 'bash':
      return bashScript(root)
    case 'zsh':
      return zshScript(root)
    case 'fish':
      return fishScript(root)
  }
}

function nodeOf(command: Commander, path: string): Node {
  return {
    path,
    help: command.summary(),
    children: command.commands.map((child) =>
      nodeOf(child, path === '' ? child.name() : `${path} ${child.name()}`),
    ),
    operands: command.registeredArguments.flatMap((operand) =>
      operand.name().includes('|') ? operand.name().split('|') : [],
    ),
    flags: [...command.options.filter((option) => !option.hidden).map(flagOf), HELP],
  }
}

function flagOf(option: Option): Flag {
  const takesValue = option.required || option.optional
  const placeholder = /<([^<>]*)>/.exec(option.flags)?.[1] ?? ''
  return {
    long: option.long!,
    help: option.description.split(/[;:(]/)[0]!.trim(),
    values: takesValue ? (option.argChoices ?? choicesOf(option.name())) : undefined,
    isFile: ['file', 'folder'].includes(placeholder.toLowerCase()),
  }
}

function choicesOf(name: string): readonly string[] {
  return isSettingName(name) ? (SETTINGS[name].kind.choices ?? []) : []
}

const HELP: Flag = { long: '--help', help: 'print help', values: undefined, isFile: false }

function flatten(node: Node): Node[] {
  return [node, ...node.children.flatMap(flatten)]
}

function bashScript(root: Root): string {
  const nodes = flatten(root)
  const paths = nodes.filter(({ path }) => path !== '').map(({ path }) => quote(path))
  return `# bash completion of lakebase-proxy: source <(lakebase-proxy completion bash)
_lakebase_proxy() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} at= word i words=
  COMPREPLY=()
  # --flag=value comes as three words.
  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -- ]] && return
    case "\${at:+$at }$word" in
      ${paths.join('|')}) at="\${at:+$at }$word" ;;
    esac
  done
  case $prev in
${valueCases(nodes, (words) => `COMPREPLY=($(compgen -W ${quote(words.join(' '))} -- "$cur")); return`, 'COMPREPLY=($(compgen -f -- "$cur")); return')}
  esac
  case $at in
${nodes.map((node) => `    ${quote(node.path)}) words=${quote(wordsAt(root, node).join(' '))} ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _lakebase_proxy lakebase-proxy
`
}

function zshScript(root: Root): string {
  const nodes = flatten(root)
  const paths = nodes.filter(({ path }) => path !== '').map(({ path }) => quote(path))
  const described = (items: readonly { name: string; help: string }[]): string =>
    items.map(({ name, help }) => quote(`${name}:${help.replaceAll(':', '\\:')}`)).join(' ')
  const cases = nodes.map((node) => {
    const commands = [
      ...node.children.map(({ path, help }) => ({ name: lastWord(path), help })),
      ...node.operands.map((name) => ({ name, help: '' })),
    ]
    const flags = flagsAt(root, node).map(({ long, help }) => ({ name: long, help }))
    return `    ${quote(node.path)}) commands=(${described(commands)}) flags=(${described(flags)}) ;;`
  })
  return `#compdef lakebase-proxy
# zsh completion of lakebase-proxy: source <(lakebase-proxy completion zsh)
_lakebase_proxy() {
  local at= word i prev=\${words[CURRENT-1]}
  local -a commands flags
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    [[ $word == -- ]] && { _files; return }
    case "\${at:+$at }$word" in
      ${paths.join('|')}) at="\${at:+$at }$word" ;;
    esac
  done
  case $prev in
${valueCases(nodes, (words) => `compadd -- ${words.map(quote).join(' ')}; return`, '_files; return')}
  esac
  case $at in
${cases.join('\n')}
  esac
  (( $#commands )) && _describe -t commands command commands
  _describe -o -t options flag flags
}
if [[ $funcstack[1] == _lakebase_proxy ]]; then _lakebase_proxy "$@"; else compdef _lakebase_proxy lakebase-proxy; fi
`
}

function fishScript(root: Root): string {
  const lines = [
    '# fish completion of lakebase-proxy: lakebase-proxy completion fish | source',
    'complete -c lakebase-proxy -f',
  ]
  for (const node of flatten(root)) {
    const here = fishCondition(node.path, root)
    for (const { path, help } of node.children) {
      const siblings = node.children.map((child) => lastWord(child.path)).join(' ')
      const condition = `${here}; and not __fish_seen_subcommand_from ${siblings}`
      lines.push(
        `complete -c lakebase-proxy -n ${quote(condition)} -a ${lastWord(path)} -d ${quote(help)}`,
      )
    }
    if (node.operands.length > 0) {
      lines.push(
        `complete -c lakebase-proxy -n ${quote(here)} -a ${quote(node.operands.join(' '))}`,
      )
    }
    for (const flag of node.flags) lines.push(fishFlag(flag, here))
  }
  return `${lines.join('\n')}\n`
}

/** The flags of the default command hold where no other command is named. */
function fishCondition(path: string, { children, byDefault }: Root): string {
  if (path === '' || path === byDefault) {
    const others = children.flatMap((each) => (each.path === byDefault ? [] : each.path)).join(' ')
    return `not __fish_seen_subcommand_from ${others}`
  }
  return path
    .split(' ')
    .map((word) => `__fish_seen_subcommand_from ${word}`)
    .join('; and ')
}

function fishFlag({ long, help, values, isFile }: Flag, condition: string): string {
  const takes = values === undefined ? '' : isFile ? ' -r -F' : ` -x -a ${quote(values.join(' '))}`
  return `complete -c lakebase-proxy -n ${quote(condition)} -l ${long.slice(2)}${takes} -d ${quote(help)}`
}

/** At the root, those of the default command too. */
function flagsAt(root: Root, node: Node): readonly Flag[] {
  if (node !== root) return node.flags
  const own = node.flags.filter((flag) => flag !== HELP)
  return [...own, ...(root.children.find(({ path }) => path === root.byDefault)?.flags ?? [])]
}

function wordsAt(root: Root, node: Node): readonly string[] {
  const children = node.children.map(({ path }) => lastWord(path))
  return [...children, ...node.operands, ...flagsAt(root, node).map(({ long }) => long)]
}

/** A case for each flag that takes a value: its words, or a file, or nothing that could be offered. */
function valueCases(
  nodes: readonly Node[],
  offer: (words: readonly string[]) => string,
  offerFile: string,
): string {
  const flags = new Map<string, Flag>()
  for (const flag of nodes.flatMap((node) => node.flags)) {
    if (flag.values !== undefined) flags.set(flag.long, flag)
  }
  return [...flags.values()]
    .map(({ long, values, isFile }) => {
      const action = isFile ? offerFile : values!.length > 0 ? offer(values!) : 'return'
      return `    ${long}) ${action} ;;`
    })
    .join('\n')
}

function lastWord(path: string): string {
  return path.slice(path.lastIndexOf(' ') + 1)
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
