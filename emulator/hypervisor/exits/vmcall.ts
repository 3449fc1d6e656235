/**
 * VMCALL is the hypercall instruction.
 */
import {
  decodeHypercall,
  hypercallText,
  noteHypercall,
  performHypercall,
} from '../hypercalls/dispatch.ts';
import { advance, advanceStep, type ExitHandler, hex, step, writeGeneral } from './exit.ts';

export const vmcall: ExitHandler = {
  number: 18,
  *handle(context) {
    const { hypervisor, vcpu } = context;
    yield step(
      'Read the hypercall',
      () => 'its number from RAX, its arguments from RDI, RSI, RDX, R10, R8',
    );
    const request = decodeHypercall(hypervisor, vcpu);
    noteHypercall(request, undefined);
    yield step(`Run ${hypercallText(request)}`, () => {
      const fields = Object.entries(request.fields).map(
        ([name, value]) => `${name} = ${hex(value)}`,
      );
      const title = request.definition?.title ?? 'Not known: it returns -ENOSYS';
      return fields.length === 0 ? `${title}.` : `${title}: ${fields.join(', ')}.`;
    });
    const result = performHypercall(request);
    if (result === undefined) {
      yield step('Go on later', () => 'the guest makes the call again, with what is left to do');
      return;
    }
    noteHypercall(request, result);
    yield step('Set RAX to the result', () => `${BigInt.asIntN(64, result)}`);
    writeGeneral(context, 0, request.context.wordBytes === 8 ? result : result & 0xffff_ffffn);
    yield advanceStep(context);
    advance(context);
  },
};
