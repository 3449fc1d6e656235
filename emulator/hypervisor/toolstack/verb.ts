/**
 * A verb of a toolstack command, and what verbs share.
 */
import type { XlResult } from '../../machine.ts';
import type { XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';

export const MIB = 1 << 20;

export interface Verb {
  readonly usage: string;
  readonly title: string;
  /** `text` is the command line after the verb, as it was typed. */
  run(hypervisor: Hypervisor, args: readonly string[], text: string): XlResult;
}

export const done = (text = ''): XlResult => ({ ok: true, text });
export const failed = (text: string): XlResult => ({ ok: false, text: `${text}\n` });

export const findDomain = (
  { domains }: Hypervisor,
  name: string | undefined,
): XenDomain | undefined =>
  [...domains.values()].find(
    ({ id, config, state }) => state !== 'destroyed' && (`${id}` === name || config.name === name),
  );

/** A verb for one domain, named by its first argument; `rest` is what is typed after it. */
export const forDomain = (
  usage: string,
  title: string,
  run: (
    hypervisor: Hypervisor,
    domain: XenDomain,
    args: readonly string[],
    rest: string,
  ) => XlResult,
): Verb => ({
  usage,
  title,
  run(hypervisor, [name, ...args], text) {
    if (name === undefined) return failed(`Usage: xl ${usage}`);
    const domain = findDomain(hypervisor, name);
    if (domain === undefined) return failed(`${name} is an invalid domain identifier`);
    return run(hypervisor, domain, args, text.slice(name.length).trimStart());
  },
});

/** A verb that domain 0 cannot be the object of. */
export const forGuest = (...[usage, title, run]: Parameters<typeof forDomain>): Verb =>
  forDomain(usage, title, (hypervisor, domain, args, rest) =>
    domain.id === 0
      ? failed('Cannot do this to domain 0: it is the toolstack itself')
      : run(hypervisor, domain, args, rest),
  );

/** "32", "32m", "1g", "32768k" in bytes; a bare number is MiB, as xl has it. */
export const memoryBytes = (text: string | undefined): number | undefined => {
  const match = /^(\d+)([bkmg]?)$/i.exec(text ?? '');
  if (match === null) return undefined;
  const scale = { b: 1, k: 1024, m: MIB, g: 1024 * MIB }[match[2]?.toLowerCase() || 'm'];
  return scale === undefined ? undefined : Number(match[1]) * scale;
};
