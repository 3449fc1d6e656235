/**
 * Tables of domains and vCPUs, laid out as xl's, and what there is of the machine.
 * Source: Xen tools/xl/xl_list.c, xl_vcpu.c, xl_info.c.
 */
import { isRunning, type XenDomain, type XenVcpu } from '../domain.ts';
import { XEN_MAJOR, XEN_MINOR } from '../hypercalls/xen-version.ts';
import { done, failed, findDomain, MIB, type Verb } from './verb.ts';

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

export const list: Verb = {
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

export const vcpuList: Verb = {
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

export const info: Verb = {
  usage: 'info',
  title: 'Get information about the Xen machine',
  run({ frames, domains }) {
    const mib = (pages: number): number => Math.floor((pages * 4096) / MIB);
    const rows: readonly (readonly [string, string | number])[] = [
      ['total_memory', mib(frames.owners.length)],
      ['free_memory', mib(frames.free)],
      ['nr_domains', [...domains.values()].filter(({ state }) => state !== 'destroyed').length],
      ['virt_caps', 'pv hvm hap'],
      ['xen_major', XEN_MAJOR],
      ['xen_minor', XEN_MINOR],
    ];
    return done(rows.map(([name, value]) => `${name.padEnd(23)}: ${value}\n`).join(''));
  },
};
