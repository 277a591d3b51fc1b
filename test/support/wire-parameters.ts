/** The parameters of a StartupMessage, from plain text. */

import { toWireText, type WireText } from '../../src/wire/frontend.js'

export function wireParameters(
  parameters: Readonly<Record<string, string>>,
): ReadonlyMap<string, WireText> {
  return new Map(Object.entries(parameters).map(([name, text]) => [name, toWireText(text)]))
}
