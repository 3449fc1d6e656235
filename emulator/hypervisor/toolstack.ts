/**
 * The toolstack's verbs, as typed after `xl`; their tables are laid out as xl's.
 * Source: Xen docs/man/xl.1, tools/xl/xl_list.c, xl_vcpu.c.
 */
import type { XlResult } from '../machine.ts';
import { isRunning, type XenDomain, type XenVcpu } from './domain.ts';
import { emit, type Hypervisor } from './hypervisor.ts';
import { unitsOf } from './memory/units.ts';
import { directPagingOf } from './pv/mmu/direct-paging.ts';

const MIB = 1 << 20;

interface Verb {
  readonly usage: string;
  readonly title: string;
  run(hypervisor: Hypervisor, args: readonly string[]): XlResult;
}

const done = (text = ''): XlResult => ({ ok: true, text });
const failed = (text: string): XlResult => ({ ok: false, text: `${text}\n` });

const findDomain = ({ domains }: Hypervisor, name: string | undefined): XenDomain | undefined =>
  [...domains.values()].find(
    ({ id, config, state }) => state !== 'destroyed' && (`${id}` === name || config.name === name),
  );

/** A verb for one domain, named by its first argument. */
const forDomain = (
  usage: string,
  title: string,
  run: (hypervisor: Hypervisor, domain: XenDomain, args: readonly string[]) => XlResult,
): Verb => ({
  usage,
  title,
  run(hypervisor, [name, ...rest]) {
    if (name === undefined) return failed(`Usage: xl ${usage}`);
    const domain = findDomain(hypervisor, name);
    if (domain === undefined) return failed(`${name} is an invalid domain identifier`);
    return run(hypervisor, domain, rest);
  },
});

const seconds = ({ vcpus }: XenDomain): string =>
  (vcpus.reduce((sum, { retired }) => sum + retired, 0) / 1e9).toFixed(1);

const stateLetters = (domain: XenDomain): string => {
  const { state, vcpus } = domain;
  const isBlocked = isRunning(domain) && vcpus.every((vcpu) => vcpu.state !== 'runnable');
  const runs =
    isRunning(domain) &&
    vcpus.some(({ pcpu, state }) => pcpu !== undefined && state === 'runnable');
  return [
    runs ? 'r' : '-',
    isBlocked ? 'b' : '-',
    state === 'paused' ? 'p' : '-',
    state === 'shutdown' || state === 'crashed' ? 's' : '-',
    state === 'crashed' ? 'c' : '-',
    state === 'destroyed' ? 'd' : '-',
  ].join('');
};

const list: Verb = {
  usage: 'list [domain]',
  title: 'List domains',
  run(hypervisor, [name]) {
    const only = name === undefined ? undefined : findDomain(hypervisor, name);
    if (name !== undefined && only === undefined) {
      return failed(`${name} is an invalid domain identifier`);
    }
    const shown = [...hypervisor.domains.values()].filter(
      (domain) => domain.state !== 'destroyed' && (only ?? domain) === domain,
    );
    const rows = shown.map((domain) => {
      const memory = Math.floor((domain.pages * 4096) / MIB);
      return `${domain.config.name.padEnd(40)} ${pad(domain.id, 5)} ${pad(memory, 5)} ${pad(domain.vcpus.length, 5)}     ${stateLetters(domain)}  ${pad(seconds(domain), 8)}\n`;
    });
    return done(
      `Name                                        ID   Mem VCPUs\tState\tTime(s)\n${rows.join('')}`,
    );
  },
};

const pad = (value: number | string, width: number): string => `${value}`.padStart(width);

const vcpuRow = ({ config, id }: XenDomain, vcpu: XenVcpu): string => {
  const letters =
    vcpu.state === 'offline'
      ? '--p'
      : `${vcpu.pcpu === undefined ? '-' : 'r'}${vcpu.state === 'blocked' ? 'b' : '-'}-`;
  const affinity = config.affinity?.join(',') ?? 'all';
  const time = (vcpu.retired / 1e9).toFixed(1);
  return `${config.name.padEnd(32)} ${pad(id, 5)} ${pad(vcpu.id, 5)} ${pad(vcpu.pcpu ?? '-', 5)}   ${letters} ${pad(time, 9)}  ${affinity} / all\n`;
};

const vcpuList: Verb = {
  usage: 'vcpu-list [domain]',
  title: 'List the vCPUs of all or one domain',
  run(hypervisor, [name]) {
    const only = name === undefined ? undefined : findDomain(hypervisor, name);
    if (name !== undefined && only === undefined) {
      return failed(`${name} is an invalid domain identifier`);
    }
    const rows = [...hypervisor.domains.values()]
      .filter((domain) => domain.state !== 'destroyed' && (only ?? domain) === domain)
      .flatMap((domain) => domain.vcpus.map((vcpu) => vcpuRow(domain, vcpu)));
    return done(
      `${'Name'.padEnd(32)} ${pad('ID', 5)} ${pad('VCPU', 5)} ${pad('CPU', 5)} ${pad('State', 5)} ${pad('Time(s)', 9)} Affinity (Hard / Soft)\n${rows.join('')}`,
    );
  },
};

/** "32", "32m", "1g", "32768k" in bytes; a bare number is MiB, as xl has it. */
const memoryBytes = (text: string | undefined): number | undefined => {
  const match = /^(\d+)([bkmg]?)$/i.exec(text ?? '');
  if (match === null) return undefined;
  const scale = { b: 1, k: 1024, m: MIB, g: 1024 * MIB }[match[2]?.toLowerCase() || 'm'];
  return scale === undefined ? undefined : Number(match[1]) * scale;
};

const memSet = forDomain(
  'mem-set <domain> <MemorySize>',
  "Set the current memory usage for a domain; the guest's balloon follows",
  (_hypervisor, domain, [size]) => {
    const bytes = memoryBytes(size);
    if (bytes === undefined || bytes === 0) return failed(`invalid memory size: ${size ?? ''}`);
    if (bytes / 4096 > domain.maximumPages) {
      return failed(
        `memory_dynamic_max must be less than or equal to memory_static_max: domain "${domain.config.name}" may have ${(domain.maximumPages * 4096) / MIB} MiB`,
      );
    }
    domain.targetPages = Math.floor(bytes / 4096);
    return done(
      `The target of domain ${domain.id} is ${bytes / MIB} MiB. Its balloon would read it from xenstore, which is not there yet: the guest keeps ${(domain.pages * 4096) / MIB} MiB until it gives pages back by itself.\n`,
    );
  },
);

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

const pause = forDomain('pause <domain>', 'Pause a domain', (hypervisor, domain) => {
  if (!isRunning(domain)) return failed(`domain ${domain.id} is ${domain.state}`);
  domain.state = 'paused';
  note(hypervisor, domain, 'paused');
  return done();
});

const unpause = forDomain('unpause <domain>', 'Unpause a paused domain', (hypervisor, domain) => {
  if (domain.state !== 'paused')
    return failed(`domain ${domain.id} is ${domain.state}, not paused`);
  domain.state = 'running';
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
};

const destroy = forDomain(
  'destroy <domain>',
  'Terminate a domain immediately',
  (hypervisor, domain) => {
    domain.state = 'destroyed';
    domain.shutdownReason ??= 'destroyed';
    domain.explanation ??= `Domain ${domain.id} was destroyed by the toolstack.`;
    note(hypervisor, domain, 'destroyed');
    releaseMemory(hypervisor, domain);
    hypervisor.hardware.invalidateTranslations();
    return done();
  },
);

const VERBS: Readonly<Record<string, Verb>> = {
  list,
  'vcpu-list': vcpuList,
  'mem-set': memSet,
  pause,
  unpause,
  destroy,
};

/** Runs a command line, with or without `xl` in front. */
export const runXl = (hypervisor: Hypervisor, command: string): XlResult => {
  const words = command
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '');
  const [name = 'help', ...args] = words[0] === 'xl' ? words.slice(1) : words;
  if (name === 'help') {
    const rows = Object.values(VERBS).map(({ usage, title }) => ` ${usage.padEnd(32)} ${title}\n`);
    return done(`Usage xl <subcommand> [args]\n\nxl subcommands:\n\n${rows.join('')}`);
  }
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  return verb?.run(hypervisor, args) ?? failed(`command not implemented: ${name}; see: xl help`);
};
