/**
 * Two results of one case, compared in all that is defined. What the SDM leaves undefined is told
 * by the instruction's definition; added here are the count of a shift, and what processors or
 * their operating system differ in.
 */
import { type Case, DATA, STATUS } from './cases.ts';
import type { Result } from './result.ts';

const BITS = { CF: 0x001, PF: 0x004, AF: 0x010, ZF: 0x040, SF: 0x080, OF: 0x800 } as const;
/** IF, DF, IOPL and NT beside the status flags. */
const COMPARED = STATUS | 0x7600;

/** From here on an operand may reach over the end of a segment of 4 GiB. */
const LAST_BYTES = 0xffff_fff0n;

const widthOf = ({ tested }: Case): 8 | 16 | 32 | 64 => {
  const { form } = tested;
  return form.operandSize === 0 ? 8 : (form.operandSize as 16 | 32 | 64);
};

/** The count of a shift, masked as the processor does. */
const countOf = (one: Case): number => {
  const { operands } = one.tested.form;
  const last = operands.at(-1);
  const mask = widthOf(one) === 64 ? 63 : 31;
  if (last === 'imm8_const_1') return 1;
  return (last === 'cl' ? Number((one.registers[1] ?? 0n) & 0xffn) : (one.code.at(-1) ?? 0)) & mask;
};

/** Whether it may have stored below the stack pointer when it faults: some processors do. */
const mayStoreAndFault = (mnemonic: string): boolean => mnemonic === 'enter' || mnemonic === 'call';

/**
 * The changed bytes of memory that are compared. A PUSH of a segment register with 32 bits stores
 * four bytes or two (SDM Vol. 2B, PUSH, "Description").
 */
const memoryText = ({ tested, registers }: Case, { memory }: Result): string => {
  const { mnemonic, form } = tested;
  const isSelector =
    mnemonic === 'push' && form.operandSize === 32 && /^[c-gs]s$/.test(form.operands[0] ?? '');
  if (!isSelector) return memory.join(' ');
  const stored = Number((registers[4] ?? 0n) - BigInt(DATA)) - 4;
  return memory.filter(([at]) => at < stored + 2 || at >= stored + 4).join(' ');
};

/** In words where `got` differs from `wanted`; undefined if it does not. */
export const differenceOf = (one: Case, wanted: Result, got: Result): string | undefined => {
  const { definition } = one.tested;
  const byCount = definition.undefinedByCount?.(countOf(one), widthOf(one));
  if (byCount?.result === true && wanted.fault === undefined) return undefined;
  const undefinedFlags = byCount?.flags ?? definition.undefinedFlags ?? [];
  // A fault leaves the flags alone, and so does an iteration that it interrupts.
  const ignored =
    wanted.fault === undefined ? undefinedFlags.reduce((sum, flag) => sum | BITS[flag], 0) : 0;
  const mask = COMPARED & ~ignored;
  const differences: string[] = [];
  const { mnemonic, form } = one.tested;
  // Vendors differ in whether a CMPXCHG that fails writes its 32-bit register.
  const keepsUpper = mnemonic === 'cmpxchg' && form.operandSize === 32;
  const registerText = (value: bigint | undefined) =>
    BigInt.asUintN(keepsUpper ? 32 : 64, value ?? 0n).toString(16);
  const note = (name: string, expected: unknown, actual: unknown) => {
    if (expected !== actual) differences.push(`${name} ${actual}, the processor ${expected}`);
  };
  const count = one.bits === 64 ? 16 : 8;
  for (let i = 0; i < count; i += 1) {
    note(`register ${i}`, registerText(wanted.registers[i]), registerText(got.registers[i]));
  }
  note('flags', (wanted.flags & mask).toString(16), (got.flags & mask).toString(16));
  note('rip', wanted.rip.toString(16), got.rip.toString(16));
  const isOverTheEnd = (wanted.fault?.address ?? 0n) >= LAST_BYTES;
  const faultText = ({ fault }: Result) => {
    if (fault === undefined) return undefined;
    // Whether an access over the end of a segment of 4 GiB is within its limit is open (SDM Vol. 3A
    // 5.3 "Limit Checking"); none of the last bytes is mapped, so that it faults either way.
    if (one.bits === 32 && isOverTheEnd) return 'of the limit or the page';
    // Linux tells P for all addresses of its half; which operand of CMPS faults first is open.
    const error = fault.address >> 47n === 0n ? fault.error : fault.error | 1;
    const address = mnemonic.startsWith('cmps') ? '' : ` at ${fault.address.toString(16)}`;
    return `${fault.vector}(${error})${address}`;
  };
  note('fault', faultText(wanted), faultText(got));
  if (!mayStoreAndFault(mnemonic) || wanted.fault === undefined) {
    const stored = (result: Result) => memoryText(one, result);
    note('memory', stored(wanted), stored(got));
  }
  if (differences.length === 0) return undefined;
  const code = Buffer.from(one.code).toString('hex');
  return `${one.bits}-bit ${one.tested.form.name} ${code}: ${differences.join('; ')}`;
};
