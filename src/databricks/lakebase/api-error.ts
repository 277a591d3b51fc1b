/**
 * What a refusal of the workspace's API is to those who handle it. Apart from the client, so that
 * they load no HTTP library with it.
 */

import { type ErrorKind, ProxyError, type ProxyErrorOptions } from '../../core/errors.js'
import { SignInRefused } from '../sign-in/sign-in-method.js'

export class ApiError extends ProxyError {
  readonly status: number
  /** Databricks' code for the error, such as `NOT_FOUND`. */
  readonly errorCode: string | undefined
  /** The workspace does not accept the token: the request does not matter. */
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

/** Another branch has the name, or a deleted one still holds it. */
export function isTaken(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false
  return error.status === 409 || error.errorCode === 'ALREADY_EXISTS'
}

/** The project has as many branches as it may. */
export function isFull(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false
  const { errorCode = '', message } = error
  if (errorCode === 'QUOTA_EXCEEDED') return true
  return errorCode === 'RESOURCE_EXHAUSTED' && /branch/i.test(message)
}

/** The workspace lets no branch live that long: the error says so, or its cause. */
export function isTooLong(error: unknown): boolean {
  if (error instanceof ApiError) return /maximum expiration/i.test(error.message)
  return error instanceof ProxyError && isTooLong(error.cause)
}
