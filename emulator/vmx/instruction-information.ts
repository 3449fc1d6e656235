/**
 * What a VM exit tells of the operands of its instruction: the VM-exit instruction-information
 * field, and the displacement that becomes the exit qualification.
 * Source: SDM Vol. 3C 27.2.5 "Information for VM Exits Due to Instruction Execution", Tables 27-8
 * to 27-14; 27.2.1 "Basic VM-Exit Information". Undefined bits are 0.
 *
 *   1:0 scale   6:3 Reg1   9:7 address size   10 register form   17:15 segment   21:18 index
 *   22 no index   26:23 base   27 no base   29:28 identity, or 31:28 Reg2
 */
import type { DecodedInstruction, MemoryOperand, Operand } from '../../isa/index.ts';

interface Layout {
  /** Bits 29:28: which instruction of the group it is. */
  readonly identity?: number;
  /** The operand whose register goes to Reg2. */
  readonly register2?: number;
  /** Position of the operand-size bits. */
  readonly sizeBit?: number;
  /** 32-bit and 16-bit operands are told apart in this way; Table 27-12 knows 64 bits too. */
  readonly sizes?: Readonly<Record<number, number>>;
}

const TABLE_SIZE = { sizeBit: 11, sizes: { 16: 0, 32: 1 } } as const;
const RANDOM_SIZE = { sizeBit: 11, sizes: { 16: 0, 32: 1, 64: 2 } } as const;

/** The instructions whose exits fill the field, but for INS and OUTS. */
const LAYOUTS: Readonly<Record<string, Layout>> = {
  sgdt: { identity: 0, ...TABLE_SIZE },
  sidt: { identity: 1, ...TABLE_SIZE },
  lgdt: { identity: 2, ...TABLE_SIZE },
  lidt: { identity: 3, ...TABLE_SIZE },
  sldt: { identity: 0 },
  str: { identity: 1 },
  lldt: { identity: 2 },
  ltr: { identity: 3 },
  invept: { register2: 0 },
  invvpid: { register2: 0 },
  invpcid: { register2: 0 },
  rdrand: RANDOM_SIZE,
  rdseed: RANDOM_SIZE,
  vmclear: {},
  vmptrld: {},
  vmptrst: {},
  vmxon: {},
  vmread: { register2: 1 },
  vmwrite: { register2: 0 },
};

const ADDRESS_SIZES = { 16: 0, 32: 1, 64: 2 } as const;
const REGISTER_FORM = 1 << 10;
const NO_INDEX = 1 << 22;
const NO_BASE = 1 << 27;
const SCALES: Readonly<Record<number, number>> = { 1: 0, 2: 1, 4: 2, 8: 3 };

const isMemory = (operand: Operand): operand is MemoryOperand => operand.kind === 'memory';

/** The field for an instruction; 0 if its exits leave the field alone. */
export const instructionInformationOf = (instruction: DecodedInstruction): number => {
  const { mnemonic, operands, form } = instruction;
  if (/^(ins|outs)[bwd]$/.test(mnemonic)) return ofString(instruction);
  const layout = LAYOUTS[mnemonic];
  if (layout === undefined) return 0;
  const memory = operands.find(isMemory);
  const isRandom = layout.sizes === RANDOM_SIZE.sizes;
  const place =
    memory === undefined
      ? ofRegister(operands, layout) | (isRandom ? 0 : REGISTER_FORM)
      : ofMemory(memory) | (ADDRESS_SIZES[form.addressWidth] << 7);
  const second = operands[layout.register2 ?? -1];
  const register2 = second?.kind === 'register' ? second.register << 28 : 0;
  const size = form.codeWidth === 64 && !isRandom ? 0 : (layout.sizes?.[form.width] ?? 0);
  const bits = (layout.identity ?? 0) << 28;
  return (place | register2 | bits | (size << (layout.sizeBit ?? 0))) >>> 0;
};

/** Table 27-8: address size and segment. */
const ofString = ({ operands, form, mnemonic }: DecodedInstruction): number => {
  const memory = operands.find(isMemory);
  const segment = mnemonic.startsWith('outs') ? (memory?.segment ?? 0) : 0;
  return (ADDRESS_SIZES[form.addressWidth] << 7) | (segment << 15);
};

const ofRegister = (operands: readonly Operand[], { register2 }: Layout): number => {
  const first = operands.find(
    (operand, index) => operand.kind === 'register' && index !== register2,
  );
  return first?.kind === 'register' ? first.register << 3 : 0;
};

const ofMemory = ({ segment, base, index, scale }: MemoryOperand): number =>
  (segment << 15) |
  (index === undefined ? NO_INDEX : (SCALES[scale] ?? 0) | (index << 18)) |
  (typeof base === 'number' ? base << 23 : NO_BASE);

/**
 * The displacement of the memory operand, sign-extended; RIP-relative: the address itself. It is
 * the qualification of the exits of the instructions above, INS, OUTS, RDRAND, RDSEED excepted.
 */
export const displacementOf = (instruction: DecodedInstruction, rip: bigint): bigint => {
  const memory = instruction.operands.find(isMemory);
  if (memory === undefined || LAYOUTS[instruction.mnemonic] === undefined) return 0n;
  const next = memory.base === 'rip' ? rip + BigInt(instruction.lengthBytes) : 0n;
  return BigInt.asUintN(instruction.form.addressWidth, memory.displacement + next);
};
