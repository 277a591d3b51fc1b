/**
 * Knows what a client waits for. It follows the messages both ways, counts those of the client that
 * are answered by one ReadyForQuery each (Query, FunctionCall, Sync), and takes each ReadyForQuery
 * off the count. Where it cannot be certain, its count stays too high or the position is lost: then
 * the session is never called answered.
 * https://www.postgresql.org/docs/current/protocol-flow.html
 */

import { kindTable, MessageWalk } from '../wire/message-walk.js'

const CLIENT_KINDS = kindTable({ skip: 'dH', tell: 'QFSPBEDCcfX', keep: '' })
const SERVER_KINDS = kindTable({ skip: 'RSKNADTtI123ncdVvHs', tell: 'ZCGW', keep: 'E' })

// The letters of the messages that are told, and the states of ReadyForQuery.
const QUERY = 0x51
const FUNCTION_CALL = 0x46
const SYNC = 0x53
const PARSE = 0x50
const BIND = 0x42
const EXECUTE = 0x45
const DESCRIBE = 0x44
const CLOSE = 0x43
const COPY_DONE = 0x63
const COPY_FAIL = 0x66
const TERMINATE = 0x58
const READY_FOR_QUERY = 0x5a
const PARAMETER_STATUS = 0x53
const NOTICE_RESPONSE = 0x4e
const NOTIFICATION_RESPONSE = 0x41
const COMMAND_COMPLETE = 0x43
const COPY_IN_RESPONSE = 0x47
const COPY_BOTH_RESPONSE = 0x57
const ERROR_RESPONSE = 0x45
const IDLE = 0x49
const STATES = new Set([IDLE, 0x54, 0x45])

// What a server says last when nothing is asked: anything else was not expected.
const BETWEEN_ANSWERS = new Set([
  READY_FOR_QUERY,
  PARAMETER_STATUS,
  NOTICE_RESPONSE,
  NOTIFICATION_RESPONSE,
])

export class Conversation {
  readonly #fromClient = new MessageWalk(CLIENT_KINDS, (type, bodyBytes) =>
    this.#clientSent(type, bodyBytes),
  )
  readonly #fromServer = new MessageWalk(SERVER_KINDS, (type, bodyBytes) =>
    this.#serverSent(type, bodyBytes),
  )
  /** ReadyForQuery messages that are to come. The first answers the login. */
  #outstanding = 1
  /** Extended-query messages went up, and no Sync after them: their answer has no certain end. */
  #hasUnsynced = false
  /** The transaction status of the last ReadyForQuery. */
  #state = 0
  #isLost = false
  #hasTerminated = false
  /** The client has sent CopyDone or CopyFail since it was last answered, or since the last COPY. */
  #hasEndedCopy = false
  /** The server waits for CopyData, and the end of it has not been sent. */
  #isCopyOpen = false
  /**
   * The last of the client's messages that count is a Sync, and the server will ignore it if COPY
   * succeeds.
   */
  #isSyncInCopy = false
  #lastCounted = 0

  /** `greeting`: what the server has sent so far, from AuthenticationOk on. */
  constructor(greeting: Buffer) {
    this.sawServer(greeting, greeting.length)
  }

  sawClient(bytes: Buffer, byteCount: number): void {
    this.#fromClient.walk(bytes, byteCount)
  }

  sawServer(bytes: Buffer, byteCount: number): void {
    this.#fromServer.walk(bytes, byteCount)
  }

  /** True when everything the client has sent is answered, and both sides are between two messages. */
  get isAnswered(): boolean {
    return (
      this.#outstanding === 0 &&
      !this.#hasUnsynced &&
      !this.#hasTerminated &&
      !this.#isLost &&
      this.#fromClient.isBetweenMessages &&
      this.#fromServer.isBetweenMessages &&
      BETWEEN_ANSWERS.has(this.#fromServer.lastType)
    )
  }

  /** True when everything is answered, outside a transaction. */
  get isIdle(): boolean {
    return this.#state === IDLE && this.isAnswered
  }

  /** An answer is to come, even if the client sends no more. */
  get isAnswerDue(): boolean {
    if (this.#isLost || this.#fromClient.isLost || this.#fromServer.isLost) return false
    if (this.#isCopyOpen) return false
    return this.#outstanding > 0 || this.#hasUnsynced
  }

  /** SQLSTATE of a FATAL error, where that was the last the server has sent. */
  get fatalSqlState(): string | undefined {
    const { lastType, isBetweenMessages, kept } = this.#fromServer
    if (lastType !== ERROR_RESPONSE || !isBetweenMessages) return undefined
    const fields = kept.toString('latin1').split('\0')
    if (!fields.includes('SFATAL') && !fields.includes('VFATAL')) return undefined
    return fields.find((field) => field.startsWith('C'))?.slice(1)
  }

  #clientSent(type: number, bodyBytes: number): void {
    if (this.#outstanding === 0 && !this.#hasUnsynced) this.#hasEndedCopy = false
    switch (type) {
      case SYNC:
        if (bodyBytes !== 0) this.#isLost = true
        this.#count(SYNC)
        return
      case QUERY:
      case FUNCTION_CALL:
        this.#count(type)
        return
      case PARSE:
      case BIND:
      case EXECUTE:
      case DESCRIBE:
      case CLOSE:
        this.#hasUnsynced = true
        return
      case COPY_DONE:
      case COPY_FAIL:
        this.#hasEndedCopy = true
        this.#isCopyOpen = false
        return
      case TERMINATE:
        this.#hasTerminated = true
    }
  }

  #count(type: number): void {
    this.#outstanding += 1
    this.#hasUnsynced = false
    this.#lastCounted = type
  }

  #serverSent(type: number, bodyBytes: number): void {
    switch (type) {
      case READY_FOR_QUERY:
        this.#readyForQuery(bodyBytes)
        return
      case COPY_IN_RESPONSE:
        // libpq sends Sync after the Execute of a COPY, and again after CopyDone. While the server
        // takes data it ignores Sync, so that the first of the two gets no ReadyForQuery. It could
        // fail before it reads that Sync, so the Sync comes off the count when the COPY is complete.
        this.#isSyncInCopy =
          this.#outstanding === 1 &&
          this.#lastCounted === SYNC &&
          !this.#hasUnsynced &&
          !this.#hasEndedCopy
        this.#isCopyOpen = !this.#hasEndedCopy
        return
      case COPY_BOTH_RESPONSE:
        this.#isCopyOpen = !this.#hasEndedCopy
        return
      case COMMAND_COMPLETE:
        if (this.#isSyncInCopy) {
          if (this.#outstanding === 1) this.#hasUnsynced = true
          this.#outstanding -= 1
        }
        this.#copyEnded()
        return
      case ERROR_RESPONSE:
        this.#copyEnded()
    }
  }

  #copyEnded(): void {
    this.#isSyncInCopy = false
    this.#isCopyOpen = false
    // One Query can hold several COPY statements, each with an end of its own.
    if (this.#outstanding === 1 && this.#lastCounted === QUERY && !this.#hasUnsynced) {
      this.#hasEndedCopy = false
    }
  }

  #readyForQuery(bodyBytes: number): void {
    const state = this.#fromServer.firstByte
    if (bodyBytes !== 1 || !STATES.has(state) || this.#outstanding === 0) this.#isLost = true
    else this.#outstanding -= 1
    this.#state = state
  }
}
