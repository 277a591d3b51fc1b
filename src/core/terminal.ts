/**
 * The one writer of what people read: every command's standard output and standard error go
 * through it. Text of others cannot move the cursor, change colours or the window's title.
 */

import { printable } from './plain-text.js'

/** Control sequences of our own: before a text (a line that is drawn again, a prompt), or a colour. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const IN_FRONT = /^(?:\r|\u001b\[[\d;]{0,8}[A-Za-z])+/
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const COLOUR = /(\u001b\[(?:0|31|32|33|90)m)/

/** The same stream, but for what it writes. */
export function forPeople<Stream extends NodeJS.WritableStream>(stream: Stream): Stream {
  return new Proxy(stream, {
    get(target, name) {
      if (name === 'write') return (text: string | Uint8Array) => target.write(shown(text))
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

function shown(text: string | Uint8Array): string | Uint8Array {
  if (typeof text !== 'string') return text
  const [front = ''] = IN_FRONT.exec(text) ?? []
  const parts = text.slice(front.length).split(COLOUR)
  return front + parts.map((part) => (COLOUR.test(part) ? part : printable(part))).join('')
}
