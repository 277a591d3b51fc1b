/** An error of the workspace API: sent in the real one's shape. */

export class ApiError extends Error {
  readonly status: number
  readonly errorCode: string
  /** As in google.rpc.Status. */
  readonly details: readonly object[]

  constructor(status: number, errorCode: string, message: string, details: readonly object[] = []) {
    super(message)
    this.status = status
    this.errorCode = errorCode
    this.details = details
  }
}

export function notFound(message: string): ApiError {
  return new ApiError(404, 'NOT_FOUND', message)
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'INVALID_PARAMETER_VALUE', message)
}
