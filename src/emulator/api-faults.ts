/** Ways in which the workspace API can be told to misbehave for its next calls. */

export type ApiFault =
  /** Answers this instead; `body` defaults to an error in the real shape. */
  | {
      readonly status: number
      readonly errorCode?: string
      readonly message?: string
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
    }
  | { readonly how: 'reset' | 'hang' | 'garbage' }
  /** Mints what has expired already. */
  | { readonly how: 'expired' }
  /** Answers rightly, but late. */
  | { readonly delayMs: number }

export class ApiFaults {
  readonly #pending: { api: string | undefined; fault: ApiFault; left: number }[] = []

  /** For the next `times` calls of `api` (undefined: of any). */
  add(api: string | undefined, fault: ApiFault, times: number): void {
    this.#pending.push({ api, fault, left: times })
  }

  take(api: string): ApiFault | undefined {
    const found = this.#pending.find(
      (each) => each.left > 0 && (each.api === undefined || each.api === api),
    )
    if (found !== undefined) found.left--
    return found?.fault
  }

  clear(): void {
    this.#pending.length = 0
  }
}
