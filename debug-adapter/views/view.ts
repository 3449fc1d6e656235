/**
 * A tree of guest state: rows below a row, as a pure function of the machine.
 */
import type { Vcpu } from '../../emulator/index.ts';
import type { Debuggee } from '../debuggee.ts';
import type { Row, ViewDescription } from '../protocol.ts';

export interface ViewContext {
  readonly debuggee: Debuggee;
  /** The vCPU that has the user's eye. */
  readonly vcpu: Vcpu;
  /** What the user has typed; '' if the view has no input. */
  readonly input: string;
}

export interface View extends ViewDescription {
  /** The children of the row with this id; undefined: the top. A row that is gone has none. */
  rows(context: ViewContext, parent: string | undefined): Row[];
}
