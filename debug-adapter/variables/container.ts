/**
 * What DAP's variable references stand for: something with named children that can be read and,
 * some of them, set. References live until the machine goes on.
 */
export interface VariableRow {
  readonly name: string;
  readonly value: string;
  readonly type?: string;
  readonly children?: VariableContainer;
  readonly evaluateName?: string;
  readonly memoryReference?: string;
  /** It can not be set. */
  readonly isReadOnly?: boolean;
}

export interface VariableContainer {
  rows(): readonly VariableRow[];
  /** A sentence if it can not be done. */
  set?(name: string, value: bigint): string | undefined;
}

export interface VariableReferences {
  add(container: VariableContainer): number;
  find(reference: number): VariableContainer | undefined;
  clear(): void;
}

export const createVariableReferences = (): VariableReferences => {
  let containers = new Map<number, VariableContainer>();
  let next = 1;
  return {
    add(container) {
      containers.set(next, container);
      next += 1;
      return next - 1;
    },
    find: (reference) => containers.get(reference),
    clear() {
      containers = new Map();
    },
  };
};
