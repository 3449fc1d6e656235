/** What devices ask of the machine around them. */

/** A device with state of its own, in a form that JSON holds without loss. */
export interface Device<State> {
  save(): State;
  restore(saved: State): void;
  /** When it has to be told of the time; undefined: never. */
  readonly nextNs: number | undefined;
  /** Time has reached this. */
  fire(nowNs: number): void;
}
