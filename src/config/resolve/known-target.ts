/** A target and its settings as they were found, before values are made of their texts. */

import type { SettingName } from '../schema/table.js'
import type { Target } from '../schema/target-text.js'
import type { Written, WrittenTarget } from '../sources/sources.js'

/** A target whose text has been read; its options are still texts. */
export interface KnownTarget {
  readonly name: string
  readonly target: Target
  readonly written: WrittenTarget
  readonly options: ReadonlyMap<SettingName, Written>
}

export interface Found extends Written {
  /** The rank of the source: 0 is the strongest. */
  readonly rank: number
  readonly isOwn: boolean
}
