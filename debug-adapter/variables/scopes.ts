/**
 * The scopes of a frame: registers, flags, segments, control registers, the VMCS (or what Xen keeps of a
 * PV vCPU) and the VM exit.
 */
import type { ExitInProgress, PvGroupView, SegmentView, Vcpu } from '../../emulator/index.ts';
import type { Frame } from '../frames.ts';
import { referenceOf } from '../memory-reference.ts';
import { hex, wide } from '../numbers.ts';
import type { VariableContainer, VariableRow } from './container.ts';
import { type BitField, REGISTER_BITS, readBits, setBits, writeBits } from './register-bits.ts';

export interface ScopeDescription {
  readonly name: string;
  readonly isExpensive: boolean;
  /** DAP's presentation hint. */
  readonly hint?: 'registers';
  readonly container: VariableContainer;
}

const GENERAL = [
  ...['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'],
  ...[8, 9, 10, 11, 12, 13, 14, 15].map((number) => `r${number}`),
];

export const scopesOf = (frame: Frame): ScopeDescription[] => {
  const { vcpu } = frame;
  const exit: ScopeDescription[] =
    frame.kind === 'exit'
      ? [
          {
            name: frame.exit.event.kind === 'trap' ? 'Trap' : 'VM exit',
            isExpensive: false,
            container: exitContainer(frame.exit),
          },
        ]
      : [];
  if (frame.kind === 'code' && !frame.isInnermost) {
    const { rip, rsp } = frame.code;
    const rows = [
      { name: 'rip', value: wide(rip), isReadOnly: true },
      { name: 'rsp', value: wide(rsp), isReadOnly: true },
    ];
    return [
      { name: 'Registers of the caller', isExpensive: false, container: { rows: () => rows } },
    ];
  }
  return [
    ...exit,
    { name: 'Registers', isExpensive: false, hint: 'registers', container: generalContainer(vcpu) },
    { name: 'Flags', isExpensive: false, container: bitsContainer(vcpu, 'rflags') },
    { name: 'Segments', isExpensive: false, container: segmentsContainer(vcpu) },
    { name: 'Control registers', isExpensive: false, container: controlContainer(vcpu) },
    { name: 'MSRs', isExpensive: true, container: namedContainer(vcpu, MSRS) },
    hypervisorScope(vcpu),
  ];
};

const gvaReference = (vcpu: Vcpu, address: bigint): string =>
  referenceOf({ space: { kind: 'gva', domain: vcpu.domain, vcpu: vcpu.id }, address });

const generalContainer = (vcpu: Vcpu): VariableContainer => ({
  rows: () => [
    ...GENERAL.map((name) => generalRow(vcpu, name)),
    registerRow(vcpu, 'rip'),
    {
      ...registerRow(vcpu, 'rflags'),
      value: `${wide(vcpu.register('rflags') ?? 0n)}  ${setBits(vcpu.register('rflags') ?? 0n, REGISTER_BITS.rflags ?? [])}`,
      children: bitsContainer(vcpu, 'rflags'),
    },
  ],
  set: (name, value) => vcpu.setRegister(name, value),
});

const registerRow = (vcpu: Vcpu, name: string): VariableRow => {
  const value = vcpu.register(name) ?? 0n;
  return {
    name,
    value: wide(value),
    evaluateName: name,
    memoryReference: gvaReference(vcpu, value),
  };
};

/** The parts of a general register: SDM Vol. 1 3.4.1.1 "General-Purpose Registers in 64-Bit Mode". */
const partsOf = (name: string): readonly (readonly [string, number, number])[] => {
  if (/^r\d/.test(name))
    return [
      [`${name}d`, 0, 32],
      [`${name}w`, 0, 16],
      [`${name}b`, 0, 8],
    ];
  const rest = name.slice(1);
  if (rest.endsWith('x')) {
    const letter = rest[0] ?? '';
    return [
      [`e${rest}`, 0, 32],
      [rest, 0, 16],
      [`${letter}h`, 8, 8],
      [`${letter}l`, 0, 8],
    ];
  }
  return [
    [`e${rest}`, 0, 32],
    [rest, 0, 16],
    [`${rest}l`, 0, 8],
  ];
};

const generalRow = (vcpu: Vcpu, name: string): VariableRow => ({
  ...registerRow(vcpu, name),
  children: {
    rows: () => {
      const value = vcpu.register(name) ?? 0n;
      return [
        ...partsOf(name).map(([part, shift, width]) => ({
          name: part,
          value: wide(BigInt.asUintN(width, value >> BigInt(shift)), width),
          evaluateName: part,
        })),
        { name: 'unsigned', value: value.toString(), isReadOnly: true },
        { name: 'signed', value: BigInt.asIntN(64, value).toString(), isReadOnly: true },
      ];
    },
    set(part, value) {
      const found = partsOf(name).find(([one]) => one === part);
      if (found === undefined) return `${part} shows ${name} in another form; set ${name}.`;
      const [, shift, width] = found;
      if (BigInt.asUintN(width, value) !== value) return `${part} has ${width} bits.`;
      const field = { name: part, title: '', first: shift, last: shift + width - 1 };
      return vcpu.setRegister(name, writeBits(vcpu.register(name) ?? 0n, field, value));
    },
  },
});

const bitsContainer = (vcpu: Vcpu, register: string): VariableContainer => {
  const fields = REGISTER_BITS[register] ?? [];
  return {
    rows: () =>
      fields.map((field) => ({
        name: field.name,
        value: `${readBits(vcpu.register(register) ?? 0n, field)}`,
        type: bitTitle(field),
        ...(register === 'rflags' && field.last === field.first
          ? { evaluateName: field.name.toLowerCase() }
          : {}),
      })),
    set(name, value) {
      const field = fields.find((one) => one.name === name);
      if (field === undefined) return `${register} has no bit ${name}.`;
      if (value >> BigInt(field.last - field.first + 1) !== 0n) {
        return `${name} has ${field.last - field.first + 1} bit${field.last === field.first ? '' : 's'}.`;
      }
      return vcpu.setRegister(register, writeBits(vcpu.register(register) ?? 0n, field, value));
    },
  };
};

const bitTitle = ({ first, last, title }: BitField): string =>
  first === last ? `bit ${first}: ${title}` : `bits ${last}:${first}: ${title}`;

const CONTROL = [
  'cr0',
  'cr2',
  'cr3',
  'cr4',
  'cr8',
  'efer',
  'dr0',
  'dr1',
  'dr2',
  'dr3',
  'dr6',
  'dr7',
];

const controlContainer = (vcpu: Vcpu): VariableContainer => ({
  rows: () =>
    CONTROL.map((name): VariableRow => {
      const value = vcpu.register(name) ?? 0n;
      const fields = REGISTER_BITS[name];
      const row = { name, value: wide(value), evaluateName: name, isReadOnly: true };
      return fields === undefined
        ? row
        : {
            ...row,
            value: `${wide(value)}  ${setBits(value, fields)}`.trimEnd(),
            children: readOnly(bitsContainer(vcpu, name)),
          };
    }),
});

/** They decide how the processor works; a guest sets them, with the processor's checks. */
const readOnly = ({ rows }: VariableContainer): VariableContainer => ({
  rows: () => rows().map((row) => ({ ...row, isReadOnly: true })),
});

const MSRS = [
  'msr.star',
  'msr.lstar',
  'msr.cstar',
  'msr.fmask',
  'msr.kernel_gs_base',
  'msr.sysenter_cs',
  'msr.sysenter_esp',
  'msr.sysenter_eip',
  'msr.tsc_aux',
  'msr.pat',
  'msr.apic_base',
];

const namedContainer = (vcpu: Vcpu, names: readonly string[]): VariableContainer => ({
  rows: () =>
    names.map((name) => {
      const value = vcpu.register(name) ?? 0n;
      return {
        name: name.replace(/^msr\.(?=.)/, 'IA32_').toUpperCase(),
        value: wide(value),
        evaluateName: name,
        memoryReference: gvaReference(vcpu, value),
        isReadOnly: true,
      };
    }),
});

const segmentsContainer = (vcpu: Vcpu): VariableContainer => ({
  rows: () => [
    ...vcpu.segments().map((segment) => ({
      name: segment.name,
      value: segmentText(segment),
      evaluateName: segment.name,
      isReadOnly: true,
      children: { rows: () => segmentRows(segment) },
    })),
    ...['gdtr', 'idtr'].map((name) => tableRow(vcpu, name)),
  ],
});

/** A descriptor table's register: SDM Vol. 3A 2.4 "Memory-Management Registers". */
const tableRow = (vcpu: Vcpu, name: string): VariableRow => {
  const base = vcpu.register(`${name}.base`) ?? 0n;
  const limit = vcpu.register(`${name}.limit`) ?? 0n;
  return {
    name,
    value: `base ${hex(base)}, limit ${hex(limit)}`,
    evaluateName: `${name}.base`,
    memoryReference: gvaReference(vcpu, base),
    isReadOnly: true,
  };
};

/** SDM Vol. 3C 24.4.1, Table 24-2 "Format of Access Rights". */
const accessFields: readonly BitField[] = [
  { name: 'type', title: 'Segment type', first: 0, last: 3 },
  { name: 'S', title: 'Code or data, not system', first: 4, last: 4 },
  { name: 'DPL', title: 'Descriptor privilege level', first: 5, last: 6 },
  { name: 'P', title: 'Present', first: 7, last: 7 },
  { name: 'AVL', title: 'Available to software', first: 12, last: 12 },
  { name: 'L', title: '64-bit mode active', first: 13, last: 13 },
  { name: 'D/B', title: 'Default operation size', first: 14, last: 14 },
  { name: 'G', title: 'Granularity', first: 15, last: 15 },
  { name: 'unusable', title: 'Segment unusable', first: 16, last: 16 },
];

const segmentText = ({ selector, base, limit, accessRights }: SegmentView): string =>
  (accessRights & 0x1_0000) !== 0
    ? `${wide(BigInt(selector), 16)}  unusable`
    : `${wide(BigInt(selector), 16)}  base ${hex(base)}, limit ${hex(limit)}, ${setBits(BigInt(accessRights), accessFields)}`;

const segmentRows = ({ selector, base, limit, accessRights }: SegmentView): VariableRow[] => [
  { name: 'selector', value: wide(BigInt(selector), 16), isReadOnly: true },
  { name: 'base', value: wide(base), isReadOnly: true },
  { name: 'limit', value: wide(BigInt(limit), 32), isReadOnly: true },
  ...accessFields.map((field) => ({
    name: field.name,
    value: hex(readBits(BigInt(accessRights), field)),
    type: bitTitle(field),
    isReadOnly: true,
  })),
];

/** What the hypervisor keeps of the vCPU: its VMCS, or what it has instead of one. */
const hypervisorScope = (vcpu: Vcpu): ScopeDescription => {
  const groups = vcpu.paravirtual();
  return groups === undefined
    ? { name: 'VMCS', isExpensive: true, container: vmcsContainer(vcpu) }
    : { name: 'Xen PV state', isExpensive: true, container: pvContainer(groups) };
};

const pvContainer = (groups: readonly PvGroupView[]): VariableContainer => ({
  rows: () =>
    groups.map(({ title, rows }) => ({
      name: title,
      value: rows.length === 0 ? 'none' : `${rows.length}`,
      isReadOnly: true,
      children: {
        rows: () =>
          rows.map(({ name, value }) => ({
            name,
            value: typeof value === 'string' ? value : hex(value),
            isReadOnly: true,
          })),
      },
    })),
});

const vmcsContainer = (vcpu: Vcpu): VariableContainer => ({
  rows: () =>
    vcpu.vmcs().map(({ title, fields }) => ({
      name: title,
      value: `${fields.length} fields`,
      isReadOnly: true,
      children: {
        rows: () =>
          fields.map(({ name, encoding, value, widthBits }) => ({
            name,
            value: wide(value, widthBits),
            type: `VMCS field ${wide(BigInt(encoding), 32)}, ${widthBits} bits`,
            evaluateName: `vmcs.${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')}`,
            isReadOnly: true,
          })),
      },
    })),
});

const exitContainer = ({ event, explanation }: ExitInProgress): VariableContainer => ({
  rows: () => [
    ...(event.kind === 'vm-exit'
      ? [
          {
            name: 'reason',
            value: `${event.number} ${event.reason}`,
            evaluateName: 'exit.reason',
            isReadOnly: true,
          },
          {
            name: 'qualification',
            value: hex(event.qualification),
            evaluateName: 'exit.qualification',
            isReadOnly: true,
          },
          {
            name: 'instruction length',
            value: `${event.instructionLength}`,
            evaluateName: 'exit.length',
            isReadOnly: true,
          },
          {
            name: 'guest linear address',
            value: hex(event.guestLinear),
            evaluateName: 'exit.gva',
            isReadOnly: true,
          },
          {
            name: 'guest-physical address',
            value: hex(event.guestPhysical),
            evaluateName: 'exit.gpa',
            isReadOnly: true,
          },
          {
            name: 'instruction information',
            value: hex(event.instructionInformation),
            isReadOnly: true,
          },
          {
            name: 'interruption information',
            value: hex(event.interruptionInformation),
            isReadOnly: true,
          },
        ]
      : []),
    {
      name: 'in words',
      value: explanation[0] ?? '',
      isReadOnly: true,
      children: {
        rows: () =>
          explanation.map((line, index) => ({
            name: `${index + 1}`,
            value: line,
            isReadOnly: true,
          })),
      },
    },
  ],
});
