/**
 * Follows the messages of one direction of a session without reading them: the type and the length
 * before each body are looked at, and bodies are skipped. The bytes may be cut anywhere. Of a
 * message that is told, the first byte of the body is known, and of some types the first bytes are
 * kept. A type or length that cannot be ends the walk for good: after it no position is certain.
 * Each session has two walks, so that they hold no buffer until they need one.
 * https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS
 */

/** Called at the end of a message; `bodyBytes` is the length of its body. */
export type Told = (type: number, bodyBytes: number) => void

export interface MessageKinds {
  /** Types that are walked over, a letter each. */
  readonly skip: string
  /** Types that are told at their end. */
  readonly tell: string
  /** Types that are told, and the beginning of whose body is kept. */
  readonly keep: string
}

const UNKNOWN = 0
const SKIP = 1
const TELL = 2
const KEEP = 3

const HEAD_BYTES = 5
const KEPT_BYTES = 64

/** For each possible first byte, what to do with the message. */
export type KindTable = Uint8Array

export function kindTable({ skip, tell, keep }: MessageKinds): KindTable {
  const table = new Uint8Array(256)
  for (const [letters, kind] of [
    [skip, SKIP],
    [tell, TELL],
    [keep, KEEP],
  ] as const) {
    for (const letter of letters) table[letter.charCodeAt(0)] = kind
  }
  return table
}

export class MessageWalk {
  /** The bytes are not messages; nothing is told any more. */
  isLost = false
  /** The type of the last message that has begun; 0 before the first. */
  lastType = 0
  /** The first byte of the body of the last message that was told. */
  firstByte = 0
  #kept: Buffer | undefined
  #keptBytes = 0
  readonly #kinds: KindTable
  readonly #told: Told
  /** How much has come of a type and a length that are not whole, and their values so far. */
  #headBytes = 0
  #headType = 0
  #headLength = 0
  #bodyBytes = 0
  #bodyBytesLeft = 0

  constructor(kinds: KindTable, told: Told) {
    this.#kinds = kinds
    this.#told = told
  }

  /** The first bytes of the body of the last message of a kept type. */
  get kept(): Buffer {
    return this.#kept?.subarray(0, this.#keptBytes) ?? Buffer.alloc(0)
  }

  /** The last message has come whole, and nothing of the next one. */
  get isBetweenMessages(): boolean {
    return !this.isLost && this.#bodyBytesLeft === 0 && this.#headBytes === 0
  }

  walk(bytes: Buffer, end: number): void {
    if (this.isLost) return
    let at = this.isBetweenMessages ? 0 : this.#goOn(bytes, end)
    const kinds = this.#kinds
    let type = this.lastType
    while (at + HEAD_BYTES <= end) {
      // Read without the checks of readInt32BE: a GB of small rows is ten million heads.
      type = bytes[at]!
      const length =
        (bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!
      const next = at + 1 + length
      if (kinds[type] === SKIP && length >= 4 && next <= end) {
        at = next
        continue
      }
      if (!this.#begin(type, length)) return
      at = this.#takeBody(bytes, at + HEAD_BYTES, end)
    }
    this.lastType = type
    while (at < end) at = this.#takeHeadByte(bytes, at)
  }

  /** The rest of a message that began before these bytes. Returns where the next one begins. */
  #goOn(bytes: Buffer, end: number): number {
    let at = 0
    if (this.#headBytes > 0) {
      while (this.#headBytes < HEAD_BYTES && at < end) at = this.#takeHeadByte(bytes, at)
      if (this.#headBytes < HEAD_BYTES) return end
      this.#headBytes = 0
      if (!this.#begin(this.#headType, this.#headLength)) return end
    }
    return this.#takeBody(bytes, at, end)
  }

  #takeHeadByte(bytes: Buffer, at: number): number {
    const byte = bytes.readUInt8(at)
    if (this.#headBytes === 0) this.#headType = byte
    else this.#headLength = (this.#headLength << 8) | byte
    this.#headBytes += 1
    return at + 1
  }

  /** False: this cannot be a message. */
  #begin(type: number, length: number): boolean {
    const kind = this.#kinds[type]
    this.lastType = type
    if (kind === UNKNOWN || length < 4) {
      this.isLost = true
      return false
    }
    this.#bodyBytes = length - 4
    this.#bodyBytesLeft = length - 4
    if (kind === KEEP) this.#keptBytes = 0
    return true
  }

  #takeBody(bytes: Buffer, at: number, end: number): number {
    const byteCount = Math.min(this.#bodyBytesLeft, end - at)
    const kind = this.#kinds[this.lastType]
    if (byteCount > 0 && this.#bodyBytesLeft === this.#bodyBytes)
      this.firstByte = bytes.readUInt8(at)
    if (kind === KEEP && this.#keptBytes < KEPT_BYTES) {
      this.#kept ??= Buffer.alloc(KEPT_BYTES)
      this.#keptBytes += bytes.copy(this.#kept, this.#keptBytes, at, at + byteCount)
    }
    this.#bodyBytesLeft -= byteCount
    if (this.#bodyBytesLeft === 0 && kind !== SKIP) this.#told(this.lastType, this.#bodyBytes)
    return at + byteCount
  }
}
