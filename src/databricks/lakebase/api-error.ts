/**
 * What a refusal of the workspace's API is to those who handle it. Apart from the client, so that
 * they load no HTTP library with it.
 */

import { type ErrorKind, ProxyError, type ProxyErrorOptions } from '../../core/errors.js'
import { SignInRefused } from '../sign-in/sign-in-method.js'

/** A refusal by the API itself. */
export class ApiError extends ProxyError {
  readonly status: number
  /** Databricks' word for it, as in `NOT_FOUND`. */
  readonly errorCode: string | undefined
  /** It is the token that is not accepted, and not what was asked for. */
  readonly refusesToken: boolean

  constructor(
    kind: ErrorKind,
    message: string,
    reply: {
      readonly status: number
      readonly errorCode: string | undefined
      readonly refusesToken?: boolean
    },
    options: ProxyErrorOptions = {},
  ) {
    super(kind, message, options)
    this.status = reply.status
    this.errorCode = reply.errorCode
    this.refusesToken = reply.refusesToken ?? false
  }
}

/** The reply, or undefined where the API refuses with one of these statuses. */
export async function unlessRefused<T>(
  reply: Promise<T>,
  ...statuses: readonly number[]
): Promise<T | undefined> {
  try {
    return await reply
  } catch (error) {
    if (error instanceof ApiError && statuses.includes(error.status)) return undefined
    throw error
  }
}

/** Whether the sign-in itself is refused: then any other request would be refused too. */
export function refusesSignIn(error: unknown): boolean {
  return error instanceof SignInRefused || (error instanceof ApiError && error.refusesToken)
}
