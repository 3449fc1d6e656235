/**
 * Catalogs are complete and without doubles, every integer instruction that can be encoded has a
 * definition and comes back from its text, and CPUID offers what the definitions cover.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../assembler/index.ts';
import { cpuidOf } from '../emulator/hypervisor/cpuid-policy.ts';
import type { XenVcpu } from '../emulator/hypervisor/domain.ts';
import { EXIT_HANDLERS } from '../emulator/hypervisor/exits/catalog.ts';
import { exitReasonOf } from '../emulator/vmx/exit-reasons.ts';
import { VMCS_FIELDS } from '../emulator/vmx/vmcs-fields.ts';
import { decode, definitionOf, formatInstruction, INSTRUCTIONS } from '../isa/index.ts';
import { casesOf } from './silicon/cases.ts';
import { testedForms } from './silicon/forms.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A folder of one thing a file, its catalog, and the files that are no such thing. */
const FOLDERS: readonly (readonly [string, string, readonly string[]])[] = [
  ['isa/instructions', 'isa/catalog.ts', []],
  ['emulator/cpu/operations', 'emulator/cpu/operations/catalog.ts', ['operation.ts']],
  [
    'emulator/hypervisor/hypercalls',
    'emulator/hypervisor/hypercalls/catalog.ts',
    ['hypercall.ts', 'dispatch.ts', 'memory-reservation.ts', 'grant-operation.ts'],
  ],
  ['emulator/hypervisor/exits', 'emulator/hypervisor/exits/catalog.ts', ['exit.ts', 'explain.ts']],
  ['emulator/hypervisor/schedulers', 'emulator/hypervisor/schedulers/catalog.ts', ['scheduler.ts']],
  [
    'emulator/hypervisor/memory/replacement',
    'emulator/hypervisor/memory/replacement/catalog.ts',
    ['replacement.ts'],
  ],
  ['debug-adapter/requests', 'debug-adapter/requests/catalog.ts', ['request.ts', 'rows.ts']],
  ['debug-adapter/views', 'debug-adapter/views/catalog.ts', ['view.ts']],
  [
    'language-server/features',
    'language-server/features/catalog.ts',
    ['feature.ts', 'diagnostics.ts'],
  ],
];

test.each(FOLDERS.filter(([, catalog]) => existsSync(join(root, catalog))))(
  'every file of %s is in %s',
  (folder, catalog, others) => {
    const text = readFileSync(join(root, catalog), 'utf8');
    const missing = readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'catalog.ts')
      .filter((name) => !others.includes(name) && !text.includes(`/${name}'`));
    expect(missing).toEqual([]);
  },
);

test.each([
  ['instructions', INSTRUCTIONS.map(({ mnemonic }) => mnemonic)],
  ['VM-exit handlers', EXIT_HANDLERS.map(({ number }) => number)],
  ['VMCS encodings', VMCS_FIELDS.map(({ encoding }) => encoding)],
  ['VMCS names', VMCS_FIELDS.map(({ name }) => name)],
] as const)('no two %s have one name or number', (_, keys: readonly unknown[]) => {
  expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([]);
});

test('every VM-exit handler is for a reason that exists', () => {
  for (const { number } of EXIT_HANDLERS) expect(exitReasonOf(number), `${number}`).toBeDefined();
});

/** The general-purpose integer instructions of 64-bit mode: SDM Vol. 1 5.1, BMI1, BMI2, ADX. */
const INTEGER = `mov movzx movsx movsxd cmovcc xchg xadd cmpxchg cmpxchg8b cmpxchg16b bswap movbe
  cbw cwde cdqe cwd cdq cqo lea xlatb push pop pushf popf enter leave add adc sub sbb cmp neg inc dec
  mul imul div idiv adcx adox and or xor not test shl shr sar rol ror rcl rcr shld shrd bt bts btr
  btc bsf bsr lzcnt tzcnt popcnt setcc crc32 andn blsi blsr blsmsk bextr bzhi pdep pext mulx rorx
  sarx shlx shrx jmp jcc call ret loop loope loopne jecxz jrcxz movsb movsw movsd movsq stosb stosw
  stosd stosq lodsb lodsw lodsd lodsq scasb scasw scasd scasq cmpsb cmpsw cmpsd cmpsq insb insw insd
  outsb outsw outsd in out clc stc cmc cld std cli sti lahf sahf nop int int3 int1 iret retf syscall
  sysret sysenter sysexit cpuid hlt rdtsc rdmsr wrmsr ud0 ud1 ud2`;

test('every general-purpose integer instruction has a definition', () => {
  expect(INTEGER.split(/\s+/).filter((name) => definitionOf(name) === undefined)).toEqual([]);
});

const ORIGIN = 0x8000n;
/**
 * NASM chooses a shorter form of the two moves; the text of PUSH imm16 in 32-bit mode does not tell
 * its size; CMPXCHG of the 486's first stepping is no instruction any more.
 */
const NOT_COMPARED = /^(Mov_r64m16_Sreg|Mov_r64_imm64|Push_imm16|Cmpxchg486_.*)$/;

/** Decodes, prints, assembles the text, decodes again: the same instruction. */
const objectionToRoundTrip = (code: readonly number[], bits: 32 | 64): string | undefined => {
  const bytes = Uint8Array.from(code);
  const first = decode(bytes, 0, ORIGIN, bits);
  if (typeof first === 'string') return first;
  const { text } = formatInstruction(bytes, 0, ORIGIN, bits);
  const { bytes: again, diagnostics } = assemble(`bits ${bits}\norg ${ORIGIN}\n${text}\n`, {
    format: 'bin',
  });
  if (again.length === 0) return `${text}: ${diagnostics[0]?.message}`;
  const second = decode(again, 0, ORIGIN, bits);
  if (typeof second === 'string') return `${text}: ${second}`;
  return first.mnemonic === second.mnemonic && first.form.width === second.form.width
    ? undefined
    : `${text}: ${second.mnemonic} of ${second.form.width} bits`;
};

test.each([64, 32] as const)('every form of %d-bit mode survives its own text', (bits) => {
  const cases = casesOf(bits, 3, 1);
  expect(cases.length).toBe(testedForms(bits).length);
  const objections = cases.flatMap(({ code, tested }) => {
    if (NOT_COMPARED.test(tested.form.name)) return [];
    const objection = objectionToRoundTrip(code, bits);
    return objection === undefined
      ? []
      : [`${tested.form.name} ${Buffer.from(code).toString('hex')}: ${objection}`];
  });
  expect(objections).toEqual([]);
});

const bitOf = (word: number, bit: number): boolean => ((word >>> bit) & 1) === 1;

test('CPUID offers the instructions that have a definition, and no others', () => {
  const vcpu = { id: 0, domain: { id: 1, vcpus: [{}] } } as unknown as XenVcpu;
  const features = cpuidOf(vcpu, 1, 0);
  const extended = cpuidOf(vcpu, 7, 0);
  const amd = cpuidOf(vcpu, 0x8000_0001, 0);
  const offered: readonly (readonly [string, boolean])[] = [
    ['cmpxchg8b', bitOf(features.edx, 8)],
    ['sysenter', bitOf(features.edx, 11)],
    ['cmovcc', bitOf(features.edx, 15)],
    ['cmpxchg16b', bitOf(features.ecx, 13)],
    ['movbe', bitOf(features.ecx, 22)],
    ['popcnt', bitOf(features.ecx, 23)],
    ['andn', bitOf(extended.ebx, 3)],
    ['mulx', bitOf(extended.ebx, 8)],
    ['clac', bitOf(extended.ebx, 20)],
    ['lzcnt', bitOf(amd.ecx, 5)],
    ['syscall', bitOf(amd.edx, 11)],
  ];
  expect(offered.filter(([, isOffered]) => !isOffered)).toEqual([]);
  for (const [name] of offered) expect(definitionOf(name), name).toBeDefined();
  // FXSR, SSE, XSAVE, RDRAND, VMX, MONITOR; RDSEED, INVPCID: their operations raise #UD.
  for (const bit of [24, 25, 26]) expect(bitOf(features.edx, bit), `EDX ${bit}`).toBe(false);
  for (const bit of [3, 5, 17, 26, 30]) expect(bitOf(features.ecx, bit), `ECX ${bit}`).toBe(false);
  for (const bit of [10, 18]) expect(bitOf(extended.ebx, bit), `EBX ${bit}`).toBe(false);
});
