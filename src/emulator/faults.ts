/** Faults that were asked for: each happens to the next few calls or connections that come to its place. */

export class Faults<Place, Fault> {
  readonly #pending: { place: Place | undefined; fault: Fault; left: number }[] = []

  /** `place` undefined: the fault happens at any place. */
  add(place: Place | undefined, fault: Fault, times: number): void {
    this.#pending.push({ place, fault, left: times })
  }

  take(place: Place): Fault | undefined {
    const found = this.#pending.find(
      (each) => each.left > 0 && (each.place === undefined || each.place === place),
    )
    if (found !== undefined) found.left--
    return found?.fault
  }

  clear(): void {
    this.#pending.length = 0
  }
}
