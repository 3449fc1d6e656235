/**
 * Bytes to instruction: thin, over iced-x86, which is the truth of encodings and operand forms.
 * What depends on the opcode alone (definition, sizes) is looked up once for each iced code.
 */
import {
  Decoder,
  DecoderError,
  DecoderOptions,
  Instruction as IcedInstruction,
  MemorySize,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register,
  RegisterExt,
} from 'iced-x86';
import { definitionOf } from './catalog.ts';
import type { Instruction } from './instruction.ts';
import type { MemoryOperand, Operand, SegmentRegister, Width } from './operands.ts';
import type { Form } from './semantics.ts';

export interface DecodedInstruction {
  /** Undefined if the encoding is valid but its meaning is not defined here. */
  readonly definition: Instruction | undefined;
  /** As in the SDM, lower case: "jne". */
  readonly mnemonic: string;
  /** iced-x86's number of the encoding. */
  readonly code: number;
  readonly form: Form;
  readonly operands: readonly Operand[];
  readonly lengthBytes: number;
}

/**
 * 'invalid': no instruction, #UD. 'tooLong': more than 15 bytes, #GP(0). 'truncated': the bytes end
 * before the instruction does.
 */
export type DecodeResult = DecodedInstruction | 'invalid' | 'tooLong' | 'truncated';

export const MAX_INSTRUCTION_BYTES = 15;

/**
 * Decodes one instruction at `bytes[offset]`, whose address is `rip`. Outside 64-bit mode the stack
 * may be narrower or wider than the code.
 */
export const decode = (
  bytes: Uint8Array,
  offset: number,
  rip: bigint,
  codeWidth: 16 | 32 | 64,
  stackWidth: 16 | 32 | 64 = codeWidth,
): DecodeResult => {
  const window = bytes.subarray(offset, offset + MAX_INSTRUCTION_BYTES);
  const decoder = new Decoder(codeWidth, window, DecoderOptions.None);
  const iced = new IcedInstruction();
  try {
    decoder.ip = rip;
    decoder.decodeOut(iced);
    if (decoder.lastError === DecoderError.NoMoreBytes) return 'truncated';
    if (decoder.lastError !== DecoderError.None) {
      // iced-x86 stops after 15 bytes, and calls that invalid too.
      return iced.length < MAX_INSTRUCTION_BYTES ? 'invalid' : 'tooLong';
    }
    return translate(iced, codeWidth, stackWidth);
  } finally {
    iced.free();
    decoder.free();
  }
};

interface CodeFacts {
  readonly mnemonic: string;
  readonly definition: Instruction | undefined;
  readonly operandWidth: Width | undefined;
  readonly addressWidth: 16 | 32 | 64 | undefined;
}

const mnemonicNames = new Map<number, string>(
  Object.entries(Mnemonic)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number')
    .map(([name, number]) => [number, name.toLowerCase()]),
);

/** A cache of pure facts about iced's codes. */
const codeFacts = new Map<number, CodeFacts>();

const factsOf = (iced: IcedInstruction): CodeFacts => {
  const known = codeFacts.get(iced.code);
  if (known !== undefined) return known;
  const opCode = iced.opCode;
  const mnemonic = mnemonicNames.get(iced.mnemonic) ?? '';
  const family = iced.conditionCode === 0 ? undefined : familyOf(mnemonic);
  const facts: CodeFacts = {
    mnemonic,
    definition: definitionOf(family ?? sizedNames[mnemonic] ?? mnemonic),
    operandWidth: widthOf(opCode.operandSize / 8),
    addressWidth: [16, 32, 64].includes(opCode.addressSize)
      ? (opCode.addressSize as 16 | 32 | 64)
      : undefined,
  };
  opCode.free();
  codeFacts.set(iced.code, facts);
  return facts;
};

/** Where the opcode's operand size tells the variants of one instruction apart. */
const sizedNames: Readonly<Record<string, string>> = {
  iretd: 'iret',
  iretq: 'iret',
  pushad: 'pusha',
  pushfd: 'pushf',
  pushfq: 'pushf',
  popad: 'popa',
  popfd: 'popf',
  popfq: 'popf',
  sysretq: 'sysret',
  sysexitq: 'sysexit',
};

const familyOf = (mnemonic: string): string | undefined => {
  if (mnemonic.startsWith('j')) return 'jcc';
  if (mnemonic.startsWith('set')) return 'setcc';
  return mnemonic.startsWith('cmov') ? 'cmovcc' : undefined;
};

const widthOf = (bytes: number): Width | undefined =>
  bytes === 1 || bytes === 2 || bytes === 4 || bytes === 8 ? ((bytes * 8) as Width) : undefined;

const translate = (
  iced: IcedInstruction,
  codeWidth: 16 | 32 | 64,
  stackWidth: 16 | 32 | 64,
): DecodedInstruction => {
  const facts = factsOf(iced);
  const operands: Operand[] = [];
  let addressWidth = facts.addressWidth ?? codeWidth;
  for (let i = 0; i < iced.opCount; i += 1) {
    const kind = iced.opKind(i);
    addressWidth = memoryAddressWidth(iced, kind) ?? addressWidth;
    operands.push(operandOf(iced, i, kind));
  }
  const condition = iced.conditionCode;
  return {
    // SSE's MOVSD and CMPSD share their names with the string instructions.
    definition: operands.some(isVector) ? undefined : facts.definition,
    mnemonic: facts.mnemonic,
    code: iced.code,
    lengthBytes: iced.length,
    operands,
    form: {
      width: formWidth(operands, facts, codeWidth),
      addressWidth,
      stackWidth,
      codeWidth,
      condition: condition === 0 ? undefined : condition - 1,
      repeat: iced.hasRepnePrefix ? 'repne' : iced.hasRepPrefix ? 'rep' : undefined,
      lock: iced.hasLockPrefix,
    },
  };
};

const isVector = ({ kind }: Operand): boolean => kind === 'xmm' || kind === 'mmx' || kind === 'st';

/** The operand size: of operand 0 if it has one, else the opcode's, else of another operand. */
const formWidth = (operands: readonly Operand[], facts: CodeFacts, codeWidth: number): Width => {
  const sized = (operand: Operand | undefined): Width | undefined =>
    operand !== undefined && 'width' in operand && operand.width !== 0 ? operand.width : undefined;
  const [first] = operands;
  if (first?.kind === 'register' || first?.kind === 'memory') {
    const width = sized(first);
    if (width !== undefined) return width;
  }
  return facts.operandWidth ?? sized(operands[1]) ?? sized(first) ?? (codeWidth === 16 ? 16 : 32);
};

const memoryAddressWidth = (iced: IcedInstruction, kind: OpKind): 16 | 32 | 64 | undefined => {
  switch (kind) {
    case OpKind.MemorySegSI:
    case OpKind.MemorySegDI:
    case OpKind.MemoryESDI:
      return 16;
    case OpKind.MemorySegESI:
    case OpKind.MemorySegEDI:
    case OpKind.MemoryESEDI:
      return 32;
    case OpKind.MemorySegRSI:
    case OpKind.MemorySegRDI:
    case OpKind.MemoryESRDI:
      return 64;
    case OpKind.Memory: {
      const register = iced.memoryBase === Register.None ? iced.memoryIndex : iced.memoryBase;
      if (register === Register.RIP) return 64;
      if (register === Register.EIP) return 32;
      const bytes = register === Register.None ? iced.memoryDisplSize : RegisterExt.size(register);
      return bytes === 2 ? 16 : bytes === 4 ? 32 : 64;
    }
    default:
      return undefined;
  }
};

const RSI = 6;
const RDI = 7;

const operandOf = (iced: IcedInstruction, index: number, kind: OpKind): Operand => {
  switch (kind) {
    case OpKind.Register:
      return registerOperand(iced.opRegister(index));
    case OpKind.NearBranch16:
    case OpKind.NearBranch32:
    case OpKind.NearBranch64:
      return { kind: 'target', displacement: branchDisplacement(iced, kind) };
    case OpKind.FarBranch16:
      return { kind: 'farPointer', selector: iced.farBranchSelector, offset: iced.farBranch16 };
    case OpKind.FarBranch32:
      return { kind: 'farPointer', selector: iced.farBranchSelector, offset: iced.farBranch32 };
    case OpKind.Memory:
      return memoryOperand(iced);
    case OpKind.MemorySegSI:
    case OpKind.MemorySegESI:
    case OpKind.MemorySegRSI:
      return stringOperand(iced, RSI, segmentOf(iced.memorySegment));
    case OpKind.MemorySegDI:
    case OpKind.MemorySegEDI:
    case OpKind.MemorySegRDI:
      return stringOperand(iced, RDI, segmentOf(iced.memorySegment));
    case OpKind.MemoryESDI:
    case OpKind.MemoryESEDI:
    case OpKind.MemoryESRDI:
      return stringOperand(iced, RDI, 0);
    default:
      return immediateOperand(iced, index, kind);
  }
};

/** How far the target is from the next instruction, wrapped to the width of the instruction pointer. */
const branchDisplacement = (iced: IcedInstruction, kind: OpKind): bigint => {
  const width = kind === OpKind.NearBranch16 ? 16 : kind === OpKind.NearBranch32 ? 32 : 64;
  return BigInt.asIntN(width, iced.nearBranchTarget - iced.nextIP);
};

const registerOperand = (register: Register): Operand => {
  if (RegisterExt.isGPR(register)) {
    const full = RegisterExt.number(RegisterExt.fullRegister(register));
    return {
      kind: 'register',
      register: full,
      high: register >= Register.AH && register <= Register.BH,
      width: widthOf(RegisterExt.size(register)) ?? 64,
    };
  }
  const number = RegisterExt.number(register);
  if (RegisterExt.isSegmentRegister(register)) return { kind: 'segmentRegister', register: number };
  if (RegisterExt.isCR(register)) return { kind: 'controlRegister', register: number };
  if (RegisterExt.isDR(register)) return { kind: 'debugRegister', register: number };
  if (RegisterExt.isMM(register)) return { kind: 'mmx', register: number };
  if (RegisterExt.isST(register)) return { kind: 'st', register: number };
  return { kind: 'xmm', register: number };
};

const segmentOf = (register: Register): SegmentRegister =>
  RegisterExt.number(register) as SegmentRegister;

const numberOf = (register: Register): number =>
  RegisterExt.number(RegisterExt.fullRegister(register));

const farPointers: ReadonlySet<MemorySize> = new Set([
  MemorySize.SegPtr16,
  MemorySize.SegPtr32,
  MemorySize.SegPtr64,
]);

const memoryWidth = (iced: IcedInstruction): Width | 0 =>
  farPointers.has(iced.memorySize) ? 0 : (widthOf(MemorySizeExt.size(iced.memorySize)) ?? 0);

const memoryOperand = (iced: IcedInstruction): MemoryOperand => {
  const base = iced.memoryBase;
  const relative = base === Register.RIP || base === Register.EIP;
  const address = iced.memoryDisplacement;
  const displacement = relative
    ? BigInt.asIntN(64, address - iced.nextIP)
    : BigInt.asIntN(iced.memoryDisplSize === 8 ? 64 : 32, address);
  return {
    kind: 'memory',
    segment: segmentOf(iced.memorySegment),
    base: relative ? 'rip' : base === Register.None ? undefined : numberOf(base),
    index: iced.memoryIndex === Register.None ? undefined : numberOf(iced.memoryIndex),
    scale: iced.memoryIndexScale as 1 | 2 | 4 | 8,
    displacement,
    width: memoryWidth(iced),
  };
};

const stringOperand = (
  iced: IcedInstruction,
  base: number,
  segment: SegmentRegister,
): MemoryOperand => ({
  kind: 'memory',
  segment,
  base,
  index: undefined,
  scale: 1,
  displacement: 0n,
  width: memoryWidth(iced),
});

const immediateOperand = (iced: IcedInstruction, index: number, kind: OpKind): Operand => {
  const width = immediateWidths[kind] ?? 64;
  const raw = iced.immediate(index);
  return { kind: 'immediate', width, value: BigInt.asUintN(64, raw) };
};

const immediateWidths: Partial<Record<OpKind, Width>> = {
  [OpKind.Immediate8]: 8,
  [OpKind.Immediate8_2nd]: 8,
  [OpKind.Immediate16]: 16,
  [OpKind.Immediate32]: 32,
  [OpKind.Immediate64]: 64,
  [OpKind.Immediate8to16]: 16,
  [OpKind.Immediate8to32]: 32,
  [OpKind.Immediate8to64]: 64,
  [OpKind.Immediate32to64]: 64,
};
