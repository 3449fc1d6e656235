/** System and VMX instructions: SDM Vol. 1 5.20 "System Instructions", Vol. 3C ch. 30. */
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Operand } from '../operands.ts';
import { MEMORY_DESTINATION } from '../operations.ts';
import type { OperationName, Semantics } from '../semantics.ts';

type Exits = NonNullable<Instruction['exits']>;

const ALWAYS: Exits = { when: 'always', words: 'In VMX non-root operation it always exits.' };
const control = (words: string): Exits => ({ when: 'conditionally', words });

const number = <V>(s: Semantics<V>, value: number): V => s.constant(value, 64);

/** An instruction without operands that is one named operation. */
const plain = (
  mnemonic: string,
  title: string,
  operation: OperationName,
  exits?: Exits,
): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'none',
    source: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    endsBlock: true,
    ...(exits === undefined ? {} : { exits }),
    semantics(s) {
      s.call(operation);
    },
  });

type Arguments = <V>(s: Semantics<V>, operands: readonly Operand[]) => readonly V[] | undefined;

/** An instruction that is one named operation on arguments made of its operands. */
const operation = (
  mnemonic: string,
  title: string,
  name: OperationName,
  args: Arguments,
  exits?: Exits,
): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'none',
    source: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    endsBlock: true,
    ...(exits === undefined ? {} : { exits }),
    semantics(s, ...operands) {
      const values = args(s, operands);
      if (values !== undefined) s.call(name, ...values);
    },
  });

/** Segment and offset of a memory operand. */
const place = <V>(s: Semantics<V>, operand: Operand | undefined): readonly V[] | undefined =>
  operand?.kind === 'memory' ? [number(s, operand.segment), s.addressOf(operand)] : undefined;

/** Register, segment, offset, width of a destination. */
const destination = <V>(
  s: Semantics<V>,
  operand: Operand | undefined,
): readonly V[] | undefined => {
  if (operand?.kind === 'register') {
    return [number(s, operand.register), number(s, 0), number(s, 0), number(s, operand.width)];
  }
  const memory = place(s, operand);
  return memory === undefined
    ? undefined
    : [number(s, MEMORY_DESTINATION), ...memory, number(s, 16)];
};

/** Register, segment, offset of a 16-bit source that is read after the privilege check. */
const source = <V>(s: Semantics<V>, operand: Operand | undefined): readonly V[] | undefined =>
  destination(s, operand)?.slice(0, 3);

const wordOf = <V>(s: Semantics<V>, operand: Operand | undefined): V =>
  operand === undefined ? number(s, 0) : s.zeroExtend(s.read(operand, 16), 64);

const descriptorTable = (mnemonic: string, table: 0 | 1, loads: boolean): Instruction =>
  operation(
    mnemonic,
    `${loads ? 'Load' : 'Store'} ${table === 0 ? 'Global' : 'Interrupt'} Descriptor Table Register`,
    loads ? 'loadDescriptorTable' : 'storeDescriptorTable',
    (s, [memory]) => {
      const at = place(s, memory);
      return (
        at && [number(s, table), ...at, number(s, s.form.codeWidth === 64 ? 64 : s.form.width)]
      );
    },
    control('If "descriptor-table exiting" is set.'),
  );

const taskOrLocalTable = (mnemonic: string, table: 0 | 1, loads: boolean): Instruction =>
  operation(
    mnemonic,
    `${loads ? 'Load' : 'Store'} ${table === 0 ? 'Local Descriptor Table' : 'Task'} Register`,
    loads ? 'loadTaskOrLocalTable' : 'storeTaskOrLocalTable',
    (s, [operand]) => {
      const where = loads ? source(s, operand) : destination(s, operand);
      return where && [number(s, table), ...where];
    },
    control('If "descriptor-table exiting" is set.'),
  );

/** LAR and LSL: register, selector, width. */
const selectorQuery = (mnemonic: string, title: string, name: OperationName): Instruction =>
  operation(mnemonic, title, name, (s, [register, selector]) =>
    register?.kind === 'register'
      ? [number(s, register.register), wordOf(s, selector), number(s, register.width)]
      : undefined,
  );

const verify = (mnemonic: 'verr' | 'verw', write: 0 | 1): Instruction =>
  operation(
    mnemonic,
    'Verify a Segment for Reading or Writing',
    'verifySegment',
    (s, [selector]) => [number(s, write), wordOf(s, selector)],
  );

/** LDS, LES, LFS, LGS, LSS. */
const farPointer = (mnemonic: string, segment: number): Instruction =>
  operation(mnemonic, 'Load Far Pointer', 'loadFarPointer', (s, [register, memory]) => {
    if (register?.kind !== 'register' || memory?.kind !== 'memory') return undefined;
    const { width } = register;
    const offset = s.addressOf(memory);
    const value = s.zeroExtend(s.load(memory.segment, offset, width), 64);
    const above = s.add(offset, number(s, width / 8));
    const selector = s.zeroExtend(s.load(memory.segment, above, 16), 64);
    return [number(s, segment), selector, number(s, register.register), value, number(s, width)];
  });

/** BOUND compares in the operation, which also reads the bounds. */
const bound = operation(
  'bound',
  'Check Array Index Against Bounds',
  'bound',
  (s, [index, bounds]) => {
    const at = place(s, bounds);
    if (index?.kind !== 'register' || at === undefined) return undefined;
    return [s.signExtend(s.read(index), 64), ...at, number(s, index.width)];
  },
);

const EXITS_IO = control('If "unconditional I/O exiting" is set, or the I/O bitmap has the bit.');

const portIn = operation(
  'in',
  'Input From Port',
  'portIn',
  (s, [accumulator, port]) =>
    accumulator?.kind === 'register' && port !== undefined
      ? [portNumber(s, port), number(s, accumulator.width)]
      : undefined,
  EXITS_IO,
);

const portOut = operation(
  'out',
  'Output to Port',
  'portOut',
  (s, [port, accumulator]) =>
    accumulator?.kind === 'register' && port !== undefined
      ? [portNumber(s, port), number(s, accumulator.width)]
      : undefined,
  EXITS_IO,
);

const portNumber = <V>(s: Semantics<V>, port: Operand): V =>
  s.zeroExtend(s.read(port, port.kind === 'immediate' ? 8 : 16), 64);

const segmentBase = (mnemonic: string, segment: number, writes: boolean): Instruction =>
  operation(
    mnemonic,
    `${writes ? 'Write' : 'Read'} FS/GS Segment Base`,
    writes ? 'writeSegmentBase' : 'readSegmentBase',
    (s, [register]) => {
      if (register?.kind !== 'register') return undefined;
      return writes
        ? [number(s, segment), s.zeroExtend(s.read(register), 64)]
        : [number(s, segment), number(s, register.register), number(s, register.width)];
    },
  );

const memoryOnly: Arguments = (s, [memory]) => place(s, memory);

/** INVEPT, INVVPID, INVPCID: the type in a register, the descriptor in memory. */
const typed: Arguments = (s, [type, memory]) => {
  const at = place(s, memory);
  return type === undefined || at === undefined
    ? undefined
    : [s.zeroExtend(s.read(type), 64), ...at];
};

const vmread = operation(
  'vmread',
  'Read Field from Virtual-Machine Control Structure',
  'vmread',
  (s, [to, field]) => {
    const where = destination(s, to);
    if (where === undefined || field === undefined) return undefined;
    const width = number(s, s.form.codeWidth === 64 ? 64 : 32);
    return [s.zeroExtend(s.read(field), 64), ...where.slice(0, 3), width];
  },
  ALWAYS,
);

const vmwrite = operation(
  'vmwrite',
  'Write Field to Virtual-Machine Control Structure',
  'vmwrite',
  (s, [field, value]) =>
    field === undefined || value === undefined
      ? undefined
      : [
          s.zeroExtend(s.read(field), 64),
          s.zeroExtend(s.read(value, s.form.codeWidth === 64 ? 64 : 32), 64),
        ],
  ALWAYS,
);

const randomNumber = (mnemonic: 'rdrand' | 'rdseed'): Instruction =>
  operation(mnemonic, 'Read Random Number', mnemonic, (s, [register]) =>
    register?.kind === 'register'
      ? [number(s, register.register), number(s, register.width)]
      : undefined,
  );

const floatingState = (mnemonic: string, name: 'fxsave' | 'fxrstor', width: 32 | 64): Instruction =>
  operation(mnemonic, 'x87 FPU, MMX Technology, and SSE State', name, (s, [memory]) => {
    const at = place(s, memory);
    return at && [...at, number(s, width)];
  });

const fastReturn = (name: 'sysret' | 'sysexit'): Instruction =>
  operation(name, 'Return From Fast System Call', name, (s) => [number(s, s.form.width)]);

export const system: readonly Instruction[] = [
  plain('cpuid', 'CPU Identification', 'cpuid', ALWAYS),
  plain('hlt', 'Halt', 'hlt', control('If "HLT exiting" is set.')),
  plain('pause', 'Spin Loop Hint', 'pause', control('If "PAUSE exiting" is set.')),
  plain('rdtsc', 'Read Time-Stamp Counter', 'rdtsc', control('If "RDTSC exiting" is set.')),
  plain(
    'rdtscp',
    'Read Time-Stamp Counter and Processor ID',
    'rdtscp',
    control('If "RDTSC exiting" is set.'),
  ),
  plain(
    'rdpmc',
    'Read Performance-Monitoring Counters',
    'rdpmc',
    control('If "RDPMC exiting" is set.'),
  ),
  plain(
    'rdmsr',
    'Read From Model Specific Register',
    'rdmsr',
    control('If MSR bitmaps are not used, or have the bit.'),
  ),
  plain(
    'wrmsr',
    'Write to Model Specific Register',
    'wrmsr',
    control('If MSR bitmaps are not used, or have the bit.'),
  ),
  plain(
    'clts',
    'Clear Task-Switched Flag in CR0',
    'clts',
    control('If CR0.TS is owned by the host and set in the shadow.'),
  ),
  plain('invd', 'Invalidate Internal Caches', 'invd', ALWAYS),
  plain(
    'wbinvd',
    'Write Back and Invalidate Cache',
    'wbinvd',
    control('If "WBINVD exiting" is set.'),
  ),
  plain('syscall', 'Fast System Call', 'syscall'),
  plain('sysenter', 'Fast System Call', 'sysenter'),
  plain('swapgs', 'Swap GS Base Register', 'swapgs'),
  plain('mwait', 'Monitor Wait', 'mwait', control('If "MWAIT exiting" is set.')),
  plain('xgetbv', 'Get Value of Extended Control Register', 'xgetbv'),
  plain('xsetbv', 'Set Extended Control Register', 'xsetbv', ALWAYS),
  plain('rsm', 'Resume From System Management Mode', 'rsm'),
  plain('vmcall', 'Call to VM Monitor', 'vmcall', ALWAYS),
  plain('vmmcall', 'Call to VM Monitor (AMD-V)', 'vmmcall'),
  plain('vmfunc', 'Invoke VM Function', 'vmfunc', control('If the function is not enabled.')),
  plain('vmxoff', 'Leave VMX Operation', 'vmxoff', ALWAYS),
  plain('vmlaunch', 'Launch Virtual Machine', 'vmlaunch', ALWAYS),
  plain('vmresume', 'Resume Virtual Machine', 'vmresume', ALWAYS),
  plain('getsec', 'Safer Mode Extensions', 'getsec', ALWAYS),
  fastReturn('sysret'),
  fastReturn('sysexit'),
  operation(
    'monitor',
    'Set Up Monitor Address',
    'monitor',
    (s) => {
      const { addressWidth } = s.form;
      return [number(s, 3), s.zeroExtend(s.register(0, addressWidth), 64)];
    },
    control('If "MONITOR exiting" is set.'),
  ),
  operation(
    'lmsw',
    'Load Machine Status Word',
    'lmsw',
    (s, [operand]) => source(s, operand),
    control('As MOV to CR0.'),
  ),
  operation('smsw', 'Store Machine Status Word', 'smsw', (s, [to]) => destination(s, to)),
  operation(
    'invlpg',
    'Invalidate TLB Entries',
    'invlpg',
    memoryOnly,
    control('If "INVLPG exiting" is set.'),
  ),
  operation(
    'invpcid',
    'Invalidate Process-Context Identifier',
    'invpcid',
    typed,
    control('If "INVLPG exiting" is set.'),
  ),
  operation('invept', 'Invalidate Translations Derived from EPT', 'invept', typed, ALWAYS),
  operation('invvpid', 'Invalidate Translations Based on VPID', 'invvpid', typed, ALWAYS),
  operation('vmxon', 'Enter VMX Operation', 'vmxon', memoryOnly, ALWAYS),
  operation('vmclear', 'Clear Virtual-Machine Control Structure', 'vmclear', memoryOnly, ALWAYS),
  operation(
    'vmptrld',
    'Load Pointer to Virtual-Machine Control Structure',
    'vmptrld',
    memoryOnly,
    ALWAYS,
  ),
  operation(
    'vmptrst',
    'Store Pointer to Virtual-Machine Control Structure',
    'vmptrst',
    memoryOnly,
    ALWAYS,
  ),
  vmread,
  vmwrite,
  descriptorTable('lgdt', 0, true),
  descriptorTable('lidt', 1, true),
  descriptorTable('sgdt', 0, false),
  descriptorTable('sidt', 1, false),
  taskOrLocalTable('lldt', 0, true),
  taskOrLocalTable('ltr', 1, true),
  taskOrLocalTable('sldt', 0, false),
  taskOrLocalTable('str', 1, false),
  verify('verr', 0),
  verify('verw', 1),
  selectorQuery('lar', 'Load Access Rights Byte', 'loadAccessRights'),
  selectorQuery('lsl', 'Load Segment Limit', 'loadSegmentLimit'),
  farPointer('les', 0),
  farPointer('lss', 2),
  farPointer('lds', 3),
  farPointer('lfs', 4),
  farPointer('lgs', 5),
  bound,
  portIn,
  portOut,
  segmentBase('rdfsbase', 4, false),
  segmentBase('rdgsbase', 5, false),
  segmentBase('wrfsbase', 4, true),
  segmentBase('wrgsbase', 5, true),
  randomNumber('rdrand'),
  randomNumber('rdseed'),
  floatingState('fxsave', 'fxsave', 32),
  floatingState('fxsave64', 'fxsave', 64),
  floatingState('fxrstor', 'fxrstor', 32),
  floatingState('fxrstor64', 'fxrstor', 64),
];
