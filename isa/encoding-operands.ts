/**
 * Operands as an assembler hands them over, and what each operand kind of a form accepts.
 */
import type { OperandForm } from './encoding-forms.ts';
import type { NamedRegister, RegisterClass } from './encoding-registers.ts';

export interface RegisterOperand {
  readonly kind: 'register';
  readonly register: NamedRegister;
  readonly mask?: number;
  readonly zeroing?: boolean;
  /** x87: the operand was marked `to`. */
  readonly to?: boolean;
}

export interface ImmediateOperand {
  readonly kind: 'immediate';
  readonly value: bigint;
  /** What the value is relative to; absent for a plain number. Compared by identity. */
  readonly segment?: object | undefined;
  /** A name not seen yet, in the first pass; the encoder is then optimistic. */
  readonly unknown?: boolean | undefined;
  readonly sizeBits?: number | undefined;
  readonly strict?: boolean | undefined;
  readonly distance?: 'short' | 'near' | 'far' | undefined;
}

export interface FarOperand {
  readonly kind: 'far';
  readonly selector: bigint;
  readonly value: bigint;
  readonly segment?: object | undefined;
  readonly sizeBits?: number | undefined;
}

export interface MemoryOperand {
  readonly kind: 'memory';
  readonly sizeBits?: number | undefined;
  readonly base?: NamedRegister | undefined;
  readonly index?: NamedRegister | undefined;
  readonly scale: number;
  /** The displacement, and what it is relative to. */
  readonly value: bigint;
  readonly segment?: object | undefined;
  readonly unknown?: boolean | undefined;
  /** `[byte ...]`, `[dword ...]`, `[qword ...]` inside the brackets. */
  readonly displacementBits?: number | undefined;
  readonly ripRelative?: boolean | undefined;
  readonly noSplit?: boolean | undefined;
  /** The register the source names first, and whether it was scaled or summed. */
  readonly hint?: {
    readonly register?: NamedRegister;
    readonly type: 'base' | 'notBase' | 'summed';
  };
  readonly distance?: 'near' | 'far' | 'short' | undefined;
  readonly mask?: number;
  readonly zeroing?: boolean;
  readonly broadcast?: number;
}

export type EncodeOperand = RegisterOperand | ImmediateOperand | FarOperand | MemoryOperand;

export type Role =
  | 'reg'
  | 'rm'
  | 'vvvv'
  | 'opcode'
  | 'is4'
  | 'immediate'
  | 'branch'
  | 'far'
  | 'offset'
  | 'fixed'
  | 'implicit';

export interface OperandRule {
  readonly role: Role;
  readonly classes?: readonly RegisterClass[];
  /** The one register accepted. */
  readonly register?: string;
  readonly memory?: boolean;
  /** Bytes of an immediate or branch field. */
  readonly bytes?: number;
  /** A field that is sign-extended to this width. */
  readonly extendedTo?: number;
  /** The class of the index register of a vector address. */
  readonly vectorIndex?: RegisterClass;
  readonly needsSib?: boolean;
}

const CLASSES: Record<string, readonly RegisterClass[]> = {
  r8: ['r8', 'r8high'],
  r16: ['r16'],
  r32: ['r32'],
  r64: ['r64'],
  mm: ['mm'],
  xmm: ['xmm'],
  xmmp3: ['xmm'],
  ymm: ['ymm'],
  zmm: ['zmm'],
  zmmp3: ['zmm'],
  tmm: ['tmm'],
  k: ['k'],
  kp1: ['k'],
  bnd: ['bnd'],
  seg: ['segment'],
  cr: ['control'],
  dr: ['debug'],
  tr: ['test'],
};

const ROLES: Record<string, Role> = {
  reg: 'reg',
  reg_mem: 'reg',
  rm: 'rm',
  or_mem: 'rm',
  or_mem_mpx: 'rm',
  vvvv: 'vvvv',
  opcode: 'opcode',
  is4: 'is4',
  is5: 'is4',
};

const SPECIAL: Partial<Record<OperandForm, OperandRule>> = {
  mem: { role: 'rm', memory: true },
  mem_mpx: { role: 'rm', memory: true },
  mem_mib: { role: 'rm', memory: true },
  sibmem: { role: 'rm', memory: true, needsSib: true },
  mem_vsib32x: { role: 'rm', memory: true, vectorIndex: 'xmm' },
  mem_vsib64x: { role: 'rm', memory: true, vectorIndex: 'xmm' },
  mem_vsib32y: { role: 'rm', memory: true, vectorIndex: 'ymm' },
  mem_vsib64y: { role: 'rm', memory: true, vectorIndex: 'ymm' },
  mem_vsib32z: { role: 'rm', memory: true, vectorIndex: 'zmm' },
  mem_vsib64z: { role: 'rm', memory: true, vectorIndex: 'zmm' },
  mem_offs: { role: 'offset' },
  farbr2_2: { role: 'far', bytes: 2 },
  farbr4_2: { role: 'far', bytes: 4 },
  sti_opcode: { role: 'opcode', classes: ['st'] },
  st0: { role: 'fixed', register: 'st0' },
  seg_rSI: { role: 'implicit' },
  es_rDI: { role: 'implicit' },
  seg_rDI: { role: 'implicit' },
  seg_rBX_al: { role: 'implicit' },
  imm4_m2z: { role: 'immediate', bytes: 1 },
  imm8: { role: 'immediate', bytes: 1 },
  imm8_const_1: { role: 'fixed' },
  imm8sex16: { role: 'immediate', bytes: 1, extendedTo: 16 },
  imm8sex32: { role: 'immediate', bytes: 1, extendedTo: 32 },
  imm8sex64: { role: 'immediate', bytes: 1, extendedTo: 64 },
  imm16: { role: 'immediate', bytes: 2 },
  imm32: { role: 'immediate', bytes: 4 },
  imm32sex64: { role: 'immediate', bytes: 4, extendedTo: 64 },
  imm64: { role: 'immediate', bytes: 8 },
  br16_1: { role: 'branch', bytes: 1 },
  br32_1: { role: 'branch', bytes: 1 },
  br64_1: { role: 'branch', bytes: 1 },
  br16_2: { role: 'branch', bytes: 2 },
  br32_4: { role: 'branch', bytes: 4 },
  br64_4: { role: 'branch', bytes: 4 },
  xbegin_2: { role: 'branch', bytes: 2 },
  xbegin_4: { role: 'branch', bytes: 4 },
  brdisp_2: { role: 'branch', bytes: 2 },
  brdisp_4: { role: 'branch', bytes: 4 },
};

const rules = new Map<OperandForm, OperandRule>();

/** What the operand kind accepts and where it goes. */
export function ruleOf(form: OperandForm): OperandRule {
  let rule = rules.get(form);
  if (rule === undefined) {
    rule = SPECIAL[form] ?? deriveRule(form);
    rules.set(form, rule);
  }
  return rule;
}

/** `r32_or_mem` reads as class, then role; a bare name is one register. */
function deriveRule(form: OperandForm): OperandRule {
  const [stem = '', ...rest] = form.split('_');
  const role = ROLES[rest.join('_')];
  if (role === undefined) return { role: 'fixed', register: form };
  return {
    role,
    classes: CLASSES[stem] ?? [],
    memory: rest.includes('or'),
  };
}
