/**
 * The form of an instruction: what selects its handler. A key reads
 *
 *   mnemonic : operand width : condition : operands
 *
 * with operands r32 (register), i8 (immediate), n8 (the count of a shift, not 0 once masked), t (branch target) and b64, x64, s64: memory with a
 * base, with an index too, with both in FS or GS.
 */
import type { DecodedInstruction, MemoryOperand, Operand } from '../../../isa/index.ts';

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

const memoryKind = ({ base, index, segment, displacement }: MemoryOperand): string | undefined => {
  if (!fits32(displacement) || (base === 'rip' && index !== undefined)) return undefined;
  if (segment >= FS) return 's';
  return index === undefined ? 'b' : 'x';
};

const operandKey = (operand: Operand): string | undefined => {
  switch (operand.kind) {
    case 'register':
      return `r${operand.width}`;
    case 'immediate':
      return `i${operand.width}`;
    case 'target':
      return 't';
    case 'memory': {
      const kind = memoryKind(operand);
      return kind && `${kind}${operand.width}`;
    }
    default:
      return undefined;
  }
};

const isString = ({ operands, definition }: DecodedInstruction): boolean =>
  /^(movs|stos|lods|scas|cmps)[bwdq]$/.test(definition?.mnemonic ?? '') &&
  operands.every((one) => one.kind !== 'memory' || one.segment < FS);

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
  if (form.codeWidth !== 64 || form.addressWidth !== 64) return undefined;
  if (isPopByStackPointer(instruction)) return undefined;
  if (isString(instruction)) return form.repeat === undefined ? `${mnemonic}:0::` : undefined;
  const keys = operands.map(operandKey);
  if (keys.includes(undefined)) return undefined;
  if (isShiftByNumber(instruction)) keys[1] = 'n8';
  return `${mnemonic}:${form.width}:${form.condition ?? ''}:${keys.join(',')}`;
};
