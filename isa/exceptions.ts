/**
 * The exceptions by vector, with their classes and error codes.
 * SDM Vol. 3A 6.3.1, Table 6-1 "Protected-Mode Exceptions and Interrupts"; which two make a
 * double fault: Table 6-5 "Conditions for Generating a Double Fault".
 */
export type ExceptionName =
  | 'DE'
  | 'DB'
  | 'NMI'
  | 'BP'
  | 'OF'
  | 'BR'
  | 'UD'
  | 'NM'
  | 'DF'
  | 'TS'
  | 'NP'
  | 'SS'
  | 'GP'
  | 'PF'
  | 'MF'
  | 'AC'
  | 'MC'
  | 'XM'
  | 'VE'
  | 'CP';

export interface ExceptionDescription {
  readonly name: ExceptionName;
  readonly vector: number;
  readonly title: string;
  readonly class: 'fault' | 'trap' | 'abort' | 'interrupt' | 'faultOrTrap';
  readonly hasErrorCode: boolean;
}

const describe = (
  vector: number,
  name: ExceptionName,
  title: string,
  kind: ExceptionDescription['class'],
  hasErrorCode = false,
): ExceptionDescription => ({ name, vector, title, class: kind, hasErrorCode });

export const EXCEPTIONS: readonly ExceptionDescription[] = [
  describe(0, 'DE', 'Divide Error', 'fault'),
  describe(1, 'DB', 'Debug Exception', 'faultOrTrap'),
  describe(2, 'NMI', 'Nonmaskable Interrupt', 'interrupt'),
  describe(3, 'BP', 'Breakpoint', 'trap'),
  describe(4, 'OF', 'Overflow', 'trap'),
  describe(5, 'BR', 'BOUND Range Exceeded', 'fault'),
  describe(6, 'UD', 'Invalid Opcode', 'fault'),
  describe(7, 'NM', 'Device Not Available', 'fault'),
  describe(8, 'DF', 'Double Fault', 'abort', true),
  describe(10, 'TS', 'Invalid TSS', 'fault', true),
  describe(11, 'NP', 'Segment Not Present', 'fault', true),
  describe(12, 'SS', 'Stack-Segment Fault', 'fault', true),
  describe(13, 'GP', 'General Protection', 'fault', true),
  describe(14, 'PF', 'Page Fault', 'fault', true),
  describe(16, 'MF', 'x87 FPU Floating-Point Error', 'fault'),
  describe(17, 'AC', 'Alignment Check', 'fault', true),
  describe(18, 'MC', 'Machine Check', 'abort'),
  describe(19, 'XM', 'SIMD Floating-Point Exception', 'fault'),
  describe(20, 'VE', 'Virtualization Exception', 'fault'),
  describe(21, 'CP', 'Control Protection Exception', 'fault', true),
];

const vectors = new Map(EXCEPTIONS.map(({ name, vector }) => [name, vector]));
const byVector = new Map(EXCEPTIONS.map((exception) => [exception.vector, exception]));

/** The vector of an exception. */
export const vectorOf = (name: ExceptionName): number => vectors.get(name) ?? 0;

/** The exception with this vector; undefined for reserved vectors and interrupts. */
export const exceptionOf = (vector: number): ExceptionDescription | undefined =>
  byVector.get(vector);
