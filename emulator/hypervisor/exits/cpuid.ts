/**
 * CPUID always exits: the guest sees the processor that the hypervisor wants it to see.
 */
import { registerSlot } from '../../cpu/state.ts';
import { cpuidOf } from '../cpuid-policy.ts';
import type { XenVcpu } from '../domain.ts';
import type { Hardware } from '../hardware.ts';
import {
  advance,
  advanceStep,
  type ExitHandler,
  hex,
  readGeneral,
  step,
  writeGeneral,
} from './exit.ts';

const [RAX, RCX, RDX, RBX] = [0, 1, 2, 3].map((register) => registerSlot(register) >>> 2) as [
  number,
  number,
  number,
  number,
];

/** The same without steps: sets the four registers of the vCPU that is loaded. */
export const answerCpuid = ({ memory }: Hardware, vcpu: XenVcpu): void => {
  const { words } = memory;
  const leaf = cpuidOf(vcpu, (words[RAX] ?? 0) >>> 0, (words[RCX] ?? 0) >>> 0);
  words[RAX] = leaf.eax;
  words[RBX] = leaf.ebx;
  words[RCX] = leaf.ecx;
  words[RDX] = leaf.edx;
  for (const low of [RAX, RBX, RCX, RDX]) words[low + 1] = 0;
};

export const cpuid: ExitHandler = {
  number: 10,
  *handle(context) {
    const number = Number(readGeneral(context, 0) & 0xffff_ffffn);
    const subleaf = Number(readGeneral(context, 1) & 0xffff_ffffn);
    yield step('Look the leaf up', () => `EAX = ${hex(number)}, ECX = ${hex(subleaf)}`);
    const leaf = cpuidOf(context.vcpu, number, subleaf);
    yield step(
      'Set EAX, EBX, ECX, EDX',
      () => `${leaf.title}: ${[leaf.eax, leaf.ebx, leaf.ecx, leaf.edx].map(hex).join(', ')}`,
    );
    writeGeneral(context, 0, BigInt(leaf.eax));
    writeGeneral(context, 3, BigInt(leaf.ebx));
    writeGeneral(context, 1, BigInt(leaf.ecx));
    writeGeneral(context, 2, BigInt(leaf.edx));
    yield advanceStep(context);
    advance(context);
  },
};
