/**
 * The processor as a hypervisor without VMX sees it: its guest runs at privilege level 3, and what
 * would enter the hypervisor through the IDT or by SYSCALL is handed over as a trap. The gates of
 * INT n are the hypervisor's: only those of INT3, INTO and INT 80h have DPL 3. CPUID faulting is on
 * (SDM Vol. 3A 2.2, MSR_MISC_FEATURES_ENABLES).
 */
import { INTERRUPT_KIND } from '../../isa/index.ts';
import { type Cpu, type NonRoot, quad, setQuad, setWord } from './cpu.ts';
import { readRflagsOf, writeRflagsOf } from './rflags.ts';
import {
  dplOf,
  isCode,
  isConforming,
  isPresent,
  loadSegment,
  readDescriptor,
  setCodeSegment,
} from './segmentation.ts';
import * as state from './state.ts';

/**
 * What has entered the hypervisor. RIP, CS, RFLAGS, SS and RSP are the interrupted program's, as
 * the processor would have pushed them: of a fault, RIP is that of its instruction and RF is set; of
 * software interrupts and SYSCALL it is behind it. SYSCALL has put RIP and RFLAGS in RCX and R11.
 */
export interface Trap {
  readonly kind: 'exception' | 'software-interrupt' | 'syscall' | 'sysenter';
  /** 0 for SYSCALL and SYSENTER. */
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** CR2 of a page fault, the new bits of DR6 of a debug exception; else 0. */
  readonly address: bigint;
}

export interface TrapSink {
  readonly nonRoot: NonRoot;
  /** The last trap. */
  readonly trap: Trap;
}

const DB = 1;
const GP = 13;
const PF = 14;
const RFLAGS_RF = 0x1_0000n;
const EFER_SCE = 1n;
/** #DB is a fault only for an access to a debug register, which faults at level 3 before. */
const isFault = (vector: number): boolean => vector !== DB;

/** The gates that a program at level 3 may use. */
const OPEN_GATES: ReadonlySet<number> = new Set([3, 4, 0x80]);
const VECTORS: Readonly<Record<number, number>> = {
  [INTERRUPT_KIND.int3]: 3,
  [INTERRUPT_KIND.into]: 4,
  [INTERRUPT_KIND.int1]: DB,
};

export const createTrapSink = (cpu: Cpu): TrapSink => {
  let trap: Trap = { kind: 'exception', vector: 0, errorCode: undefined, address: 0n };

  const passInstruction = (): void => {
    setQuad(
      cpu,
      state.RIP,
      BigInt.asUintN(64, quad(cpu, state.RIP) + BigInt(cpu.instructionLength)),
    );
    writeRflagsOf(cpu, readRflagsOf(cpu) & ~RFLAGS_RF);
  };
  const exception = (vector: number, errorCode: number | undefined): true => {
    const address = vector === PF || vector === DB ? quad(cpu, state.FAULT_ADDRESS) : 0n;
    if (isFault(vector)) writeRflagsOf(cpu, readRflagsOf(cpu) | RFLAGS_RF);
    trap = { kind: 'exception', vector, errorCode, address };
    return true;
  };
  const enter = (kind: Trap['kind'], vector = 0): true => {
    passInstruction();
    trap = { kind, vector, errorCode: undefined, address: 0n };
    return true;
  };
  const interrupt = (vector: number, kind: number): boolean => {
    if (kind === INTERRUPT_KIND.into && (readRflagsOf(cpu) & 0x800n) === 0n) return false;
    if (kind === INTERRUPT_KIND.int1) {
      passInstruction();
      setQuad(cpu, state.FAULT_ADDRESS, 0n);
      return exception(DB, undefined);
    }
    const number = VECTORS[kind] ?? vector;
    if (kind === INTERRUPT_KIND.int && !OPEN_GATES.has(number)) {
      return exception(GP, number * 8 + 2);
    }
    return enter('software-interrupt', number);
  };
  const nonRoot: NonRoot = {
    interceptsException: (vector, errorCode) => exception(vector, errorCode),
    // No exception is ever delivered, so that none can follow another.
    tripleFault: () => undefined,
    readControlRegister: (_, value) => value,
    writeControlRegister: (_, __, value) => value,
    intercepts(operation, args) {
      switch (operation) {
        case 'cpuid':
          return exception(GP, 0);
        case 'interrupt':
          return interrupt(Number(args[0] ?? 0n), Number(args[1] ?? 0n));
        case 'syscall': {
          if ((quad(cpu, state.EFER) & EFER_SCE) === 0n) return false;
          enter('syscall');
          setQuad(cpu, state.registerSlot(1), quad(cpu, state.RIP));
          setQuad(cpu, state.registerSlot(11), readRflagsOf(cpu));
          return true;
        }
        case 'sysenter':
          return (quad(cpu, state.SYSENTER_CS) & 0xfffcn) === 0n ? false : enter('sysenter');
        default:
          return false;
      }
    },
  };
  return {
    nonRoot,
    get trap() {
      return trap;
    },
  };
};

const LONG_AND_BIG = 0x6000;

/** Loads a segment register as the return to level 3 does; false if that is #GP, #NP or #SS. */
export const loadLevel3Segment = (cpu: Cpu, segment: number, selector: number): boolean => {
  setWord(cpu, state.CPL, 3);
  if (segment !== state.CS) return loadSegment(cpu, segment, selector) === undefined;
  if ((selector & 0xfffc) === 0) return false;
  const code = readDescriptor(cpu, selector, 'GP');
  if ('failure' in code || !isCode(code) || !isPresent(code)) return false;
  const isRefused = isConforming(code) ? dplOf(code) > 3 : dplOf(code) !== 3;
  if (isRefused || (code.access & LONG_AND_BIG) === LONG_AND_BIG) return false;
  setCodeSegment(cpu, code, 3);
  return true;
};
