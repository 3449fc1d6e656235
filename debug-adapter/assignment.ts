/**
 * Setting what an expression names: a register or a part of one, or memory, `dword [rsp+8]`,
 * `gpa(0x1000)`.
 */
import type { AddressSpace } from '../emulator/index.ts';
import { evaluateIn } from './console.ts';
import type { Debuggee } from './debuggee.ts';
import { parseExpression } from './expressions/parse.ts';
import type { Frame } from './frames.ts';
import { scopesOf } from './variables/scopes.ts';

/** A sentence if it can not be done; throws ExpressionError. */
export const assign = (
  debuggee: Debuggee,
  frame: Frame | undefined,
  text: string,
  value: bigint,
): string | undefined => {
  const target = parseExpression(text);
  const vcpu = frame?.vcpu ?? debuggee.vcpuOf(undefined);
  if (target.kind === 'name') {
    const name = target.name.toLowerCase();
    const containers = scopesOf({
      kind: 'code',
      vcpu,
      code: { rip: vcpu.rip, rsp: 0n, isGuess: false },
      isInnermost: true,
    }).map(({ container }) => container);
    const parts = containers.flatMap((one) =>
      one.rows().flatMap(({ children }) => (children === undefined ? [] : [children])),
    );
    const owner = [...containers, ...parts].find((one) =>
      one.rows().some((row) => row.evaluateName === name || row.name.toLowerCase() === name),
    );
    const row = owner
      ?.rows()
      .find((one) => one.evaluateName === name || one.name.toLowerCase() === name);
    return (
      owner?.set?.(row?.name ?? name, value) ?? (owner?.set ? undefined : `${text} can not be set.`)
    );
  }
  const place = memoryPlace(text, { domain: vcpu.domain, vcpu: vcpu.id });
  if (place === undefined) return `'${text}' is neither a register nor memory.`;
  const address = evaluateIn(debuggee, frame, place.address);
  if (typeof address === 'string') return `'${place.address}' is no address.`;
  const bytes = new Uint8Array(place.size);
  for (let index = 0; index < place.size; index += 1) {
    bytes[index] = Number((value >> BigInt(8 * index)) & 0xffn);
  }
  return debuggee.machine.pokeMemory(place.space, address, bytes);
};

const SIZES: Readonly<Record<string, number>> = { byte: 1, word: 2, dword: 4, qword: 8 };

const memoryPlace = (
  text: string,
  { domain, vcpu }: { readonly domain: number; readonly vcpu: number },
): { space: AddressSpace; address: string; size: number } | undefined => {
  const linear = /^\s*(?:(byte|word|dword|qword)\s*)?\[(.*)\]\s*$/i.exec(text);
  if (linear !== null) {
    const size = SIZES[(linear[1] ?? 'qword').toLowerCase()] ?? 8;
    return { space: { kind: 'gva', domain, vcpu }, address: linear[2] ?? '', size };
  }
  const physical = /^\s*(gpa|maddr)\s*\((.*)\)\s*$/i.exec(text);
  if (physical === null) return undefined;
  const space: AddressSpace =
    physical[1]?.toLowerCase() === 'gpa' ? { kind: 'gpa', domain } : { kind: 'maddr' };
  return { space, address: physical[2] ?? '', size: 8 };
};
