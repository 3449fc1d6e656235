/**
 * The form of an instruction: what selects its handler. A key reads
 *
 *   mnemonic : operand width : condition : operands
 *
 * with operands r32 (register), i8 (immediate), n8 (the count of a shift, not 0 once masked), t (branch target) and b64, x64, s64: memory with a
 * base, with an index too, with both in a segment that may have a base. Keys of 64-bit and of 32-bit
 * code are apart.
 */
import type { DecodedInstruction, MemoryOperand, Operand } from '../../../isa/index.ts';

const CS = 1;
const FS = 4;

/** They do nothing, whatever their operands are. */
const NOTHING: ReadonlySet<string> = new Set([
  'nop',
  'endbr32',
  'endbr64',
  'reservednop',
  'prefetchnta',
  'prefetcht0',
  'prefetcht1',
  'prefetcht2',
  'prefetchw',
  'prefetch',
  'lfence',
  'mfence',
  'sfence',
]);

const fits32 = (value: bigint): boolean => BigInt.asIntN(32, value) === value;

/** FS and GS have a base; outside 64-bit mode, CS is not to be written to. */
export const isSpecialSegment = (segment: number, codeWidth: number): boolean =>
  segment >= FS || (segment === CS && codeWidth !== 64);

const memoryKind = (
  { base, index, segment, displacement }: MemoryOperand,
  codeWidth: number,
): string | undefined => {
  if (!fits32(displacement) || (base === 'rip' && index !== undefined)) return undefined;
  if (isSpecialSegment(segment, codeWidth)) return 's';
  return index === undefined ? 'b' : 'x';
};

const operandKey = (operand: Operand, codeWidth: number): string | undefined => {
  switch (operand.kind) {
    case 'register':
      return `r${operand.width}`;
    case 'immediate':
      return `i${operand.width}`;
    case 'target':
      return 't';
    case 'memory': {
      const kind = memoryKind(operand, codeWidth);
      return kind && `${kind}${operand.width}`;
    }
    default:
      return undefined;
  }
};

const isString = ({ operands, definition, form }: DecodedInstruction): boolean =>
  /^(movs|stos|lods|scas|cmps)[bwdq]$/.test(definition?.mnemonic ?? '') &&
  operands.every((one) => one.kind !== 'memory' || !isSpecialSegment(one.segment, form.codeWidth));

const SHIFTS: ReadonlySet<string> = new Set(['shl', 'sal', 'shr', 'sar', 'rol', 'ror']);

const isShiftByNumber = ({ definition, form, operands }: DecodedInstruction): boolean => {
  const count = operands[1];
  const mask = form.width === 64 ? 63n : 31n;
  return (
    SHIFTS.has(definition?.mnemonic ?? '') &&
    count?.kind === 'immediate' &&
    (count.value & mask) !== 0n
  );
};

/** POP [rsp + n] adds to RSP before it computes the address; handlers do not know the base. */
const isPopByStackPointer = ({ definition, operands }: DecodedInstruction): boolean => {
  const [destination] = operands;
  return definition?.mnemonic === 'pop' && destination?.kind === 'memory' && destination.base === 4;
};

/** Undefined if no handler is made for such instructions. */
export const formKeyOf = (instruction: DecodedInstruction): string | undefined => {
  const { definition, form, operands } = instruction;
  if (definition === undefined || definition.tier === 'precise') return undefined;
  const { mnemonic } = definition;
  if (NOTHING.has(mnemonic)) return 'nop:32::';
  if (form.codeWidth === 16 || form.addressWidth !== form.codeWidth) return undefined;
  if (isPopByStackPointer(instruction)) return undefined;
  if (isString(instruction)) return form.repeat === undefined ? `${mnemonic}:0::` : undefined;
  const keys = operands.map((operand) => operandKey(operand, form.codeWidth));
  if (keys.includes(undefined)) return undefined;
  if (isShiftByNumber(instruction)) keys[1] = 'n8';
  return `${mnemonic}:${form.width}:${form.condition ?? ''}:${keys.join(',')}`;
};
