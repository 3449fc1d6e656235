/**
 * CPUID always exits: the guest sees the processor that the hypervisor wants it to see.
 */
import { cpuidOf } from '../cpuid-policy.ts';
import {
  advance,
  advanceStep,
  type ExitHandler,
  hex,
  readGeneral,
  step,
  writeGeneral,
} from './exit.ts';

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
