/**
 * What an instruction names, after decoding: the operand kinds of the SDM reduced to the few
 * shapes that meanings and engines tell apart (SDM Vol. 2A 3.1.1.3 "Instruction Column in the
 * Opcode Summary Table" lists the spellings r/m64, imm8, moffs, ...).
 */
export type Width = 8 | 16 | 32 | 64;

/** ES, CS, SS, DS, FS, GS in the order of their encoding (SDM Vol. 2A 2.1.5, Table 2-2). */
export type SegmentRegister = 0 | 1 | 2 | 3 | 4 | 5;

/** A general register or a part of one. `high` marks AH, CH, DH and BH, whose register is 0 to 3. */
export interface RegisterOperand {
  readonly kind: 'register';
  readonly register: number;
  readonly high: boolean;
  readonly width: Width;
}

/**
 * `segment : base + index * scale + displacement`, cut to the address width.
 * `base: 'rip'` means the address of the next instruction. The displacement is sign-extended.
 * `width` is 8 to 64 for integer data; larger data (FXSAVE, CMPXCHG16B, descriptors) says 0.
 */
export interface MemoryOperand {
  readonly kind: 'memory';
  readonly segment: SegmentRegister;
  readonly base: number | 'rip' | undefined;
  readonly index: number | undefined;
  readonly scale: 1 | 2 | 4 | 8;
  readonly displacement: bigint;
  readonly width: Width | 0;
}

/** `value` is sign-extended or zero-extended to 64 bits as the instruction demands. */
export interface ImmediateOperand {
  readonly kind: 'immediate';
  readonly value: bigint;
  readonly width: Width;
}

/** A near branch; `displacement` counts from the next instruction. */
export interface TargetOperand {
  readonly kind: 'target';
  readonly displacement: bigint;
}

/** The `ptr16:32` of a far jump or call. */
export interface FarPointerOperand {
  readonly kind: 'farPointer';
  readonly selector: number;
  readonly offset: number;
}

/** A segment, control, debug register by its number. */
export interface SystemRegisterOperand {
  readonly kind: 'segmentRegister' | 'controlRegister' | 'debugRegister';
  readonly register: number;
}

/** A register of the vector or x87 files. */
export interface VectorRegisterOperand {
  readonly kind: 'xmm' | 'mmx' | 'st';
  readonly register: number;
}

export type Operand =
  | RegisterOperand
  | MemoryOperand
  | ImmediateOperand
  | TargetOperand
  | FarPointerOperand
  | SystemRegisterOperand
  | VectorRegisterOperand;
