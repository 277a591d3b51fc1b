/** Parses an option of one command in the way a setting of the same kind is parsed. */

import { type Kind, ValueError } from '../../config/schema/values.js'
import { ProxyError } from '../../core/errors.js'

/** Errors: kind `config`, when the text is not a value of that kind. */
export function readOption<T>(
  options: ReadonlyMap<string, string>,
  name: string,
  kind: Kind<T, never>,
): T | undefined {
  const text = options.get(name)
  try {
    return text === undefined ? undefined : kind.parse(text)
  } catch (error) {
    if (!(error instanceof ValueError)) throw error
    throw new ProxyError('config', `--${name}: ${name} ${error.message}`)
  }
}
