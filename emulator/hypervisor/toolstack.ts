/**
 * The toolstack's verbs, as typed after `xl`.
 * Source: Xen docs/man/xl.1.
 */
import type { XlResult } from '../machine.ts';
import { isRunning, type XenDomain } from './domain.ts';
import { emit, type Hypervisor } from './hypervisor.ts';
import { unitsOf } from './memory/units.ts';
import { directPagingOf } from './pv/mmu/direct-paging.ts';
import { console } from './toolstack/console.ts';
import { reboot, shutdown } from './toolstack/control.ts';
import { info, list, vcpuList } from './toolstack/listing.ts';
import { memMax, memSet } from './toolstack/memory.ts';
import { logDirty, memPagingSet, memSharing, sharing } from './toolstack/paging.ts';
import { done, failed, forGuest, type Verb } from './toolstack/verb.ts';
import { XENSTORE_COMMANDS } from './toolstack/xenstore.ts';

const note = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  state: 'paused' | 'unpaused' | 'destroyed',
): void => {
  const first = domain.vcpus[0];
  if (first !== undefined && hypervisor.events.wants('domain')) {
    emit(hypervisor, first, { kind: 'domain', state, reason: undefined });
  }
};

const pause = forGuest('pause <domain>', 'Pause a domain', (hypervisor, domain) => {
  if (!isRunning(domain)) return failed(`domain ${domain.id} is ${domain.state}`);
  domain.state = 'paused';
  note(hypervisor, domain, 'paused');
  return done();
});

const unpause = forGuest('unpause <domain>', 'Unpause a paused domain', (hypervisor, domain) => {
  if (domain.state !== 'paused')
    return failed(`domain ${domain.id} is ${domain.state}, not paused`);
  domain.state = 'running';
  domain.explanation = undefined;
  note(hypervisor, domain, 'unpaused');
  return done();
});

/** Frames that others still map are free when they do no more. */
const releaseMemory = (hypervisor: Hypervisor, domain: XenDomain): void => {
  if (domain.type === 'pv') {
    directPagingOf(hypervisor).releaseDomain(domain);
    return;
  }
  unitsOf(hypervisor).drop(domain);
  for (const mfn of domain.shadow?.end() ?? []) hypervisor.frames.release(mfn);
};

const destroy = forGuest(
  'destroy <domain>',
  'Terminate a domain immediately',
  (hypervisor, domain) => {
    domain.state = 'destroyed';
    domain.shutdownReason ??= 'destroyed';
    domain.explanation ??= `Domain ${domain.id} was destroyed by the toolstack.`;
    note(hypervisor, domain, 'destroyed');
    hypervisor.dom0?.release(domain);
    releaseMemory(hypervisor, domain);
    hypervisor.hardware.invalidateTranslations();
    return done();
  },
);

const VERBS: Readonly<Record<string, Verb>> = {
  list,
  'vcpu-list': vcpuList,
  info,
  'mem-set': memSet,
  'mem-max': memMax,
  sharing,
  'mem-sharing': memSharing,
  'mem-paging-set': memPagingSet,
  'log-dirty': logDirty,
  console,
  pause,
  unpause,
  shutdown,
  reboot,
  destroy,
};

const help = (): XlResult => {
  const rows = Object.values(VERBS).map(({ usage, title }) => ` ${usage.padEnd(32)} ${title}\n`);
  return done(`Usage xl <subcommand> [args]\n\nxl subcommands:\n\n${rows.join('')}`);
};

/** Runs a command line: a verb, with or without `xl` in front, or a command of xenstore's. */
export const runXl = (hypervisor: Hypervisor, command: string): XlResult => {
  const line = command.trim().replace(/^xl(?=\s|$)\s*/, '');
  const name = /^\S*/.exec(line)?.[0] ?? '';
  if (name === '' || name === 'help') return help();
  const text = line.slice(name.length).trim();
  const args = text === '' ? [] : text.split(/\s+/);
  const verbs = { ...VERBS, ...XENSTORE_COMMANDS };
  const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  return (
    verb?.run(hypervisor, args, text) ?? failed(`command not implemented: ${name}; see: xl help`)
  );
};
