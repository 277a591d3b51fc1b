/** An error of the workspace API: sent in the real one's shape. */

export class ApiError extends Error {
  readonly status: number
  readonly errorCode: string
  /** As in google.rpc.Status. */
  readonly #details: readonly object[]

  constructor(status: number, errorCode: string, message: string, details: readonly object[] = []) {
    super(message)
    this.status = status
    this.errorCode = errorCode
    this.#details = details
  }

  get body(): object {
    const message = `${this.message} [TraceId: 00-emulator-00]`
    const details = this.#details.length > 0 ? { details: this.#details } : {}
    return { error_code: this.errorCode, message, ...details }
  }
}

/** An error of the token endpoint: https://datatracker.ietf.org/doc/html/rfc6749#section-5.2 */
export class OAuthError extends ApiError {
  override get body(): object {
    return { error: this.errorCode, error_description: this.message }
  }
}

export function notFound(message: string): ApiError {
  return new ApiError(404, 'NOT_FOUND', message)
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'INVALID_PARAMETER_VALUE', message)
}
