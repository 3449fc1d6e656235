/**
 * Page sharing, swap and log-dirty mode. `sharing` is xl's; the others are tools of their own on real
 * Xen (memshrtool, xenpaging), here in the words of xl. Xen has all of them for domains with EPT alone.
 * Source: Xen docs/man/xl.1, "sharing"; tools/xl/xl_info.c, sharing().
 */
import type { ReplacementName } from '../../machine.ts';
import { hasPageStates, type XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { REPLACEMENTS } from '../memory/replacement/catalog.ts';
import { unitsOf } from '../memory/units.ts';
import { done, failed, findDomain, forGuest, MIB, memoryBytes, type Verb } from './verb.ts';

const PAGE = 4096;
const pad = (value: number, width: number): string => `${value}`.padStart(width);
const inMib = (pages: number): number => Math.floor((pages * PAGE) / MIB);

const refusal = ({ id }: XenDomain): string =>
  `domain ${id} has no EPT: its pages can be neither shared nor swapped`;

export const sharing: Verb = {
  usage: 'sharing [domain]',
  title: 'Get information about page sharing',
  run(hypervisor, [name]) {
    const only = name === undefined ? undefined : findDomain(hypervisor, name);
    if (name !== undefined && only === undefined) {
      return failed(`${name} is an invalid domain identifier`);
    }
    const units = unitsOf(hypervisor);
    const shown = [...hypervisor.domains.values()].filter(
      (domain) => domain.id > 0 && domain.state !== 'destroyed' && (only ?? domain) === domain,
    );
    const rows = shown.map((domain) => {
      const { shared } = units.counts.of(domain);
      return `${domain.config.name.padEnd(40)} ${pad(domain.id, 5)} ${pad(inMib(domain.pages), 5)} ${pad(inMib(shared), 8)}  ${pad(shared, 8)} pages\n`;
    });
    const saved = shown.reduce((sum, domain) => sum + units.counts.of(domain).shared, 0);
    return done(
      `Name                                        ID   Mem   Shared\n${rows.join('')}${saved} pages share ${units.sharing.frames} frames; the scan is ${stateOf(hypervisor)}.\n`,
    );
  },
};

const stateOf = (hypervisor: Hypervisor): string => {
  const { config } = unitsOf(hypervisor).sharing;
  return config === undefined
    ? 'off'
    : `on (${config.mode}), ${config.pagesPerScan} pages each ${config.intervalMs} ms`;
};

export const memSharing: Verb = {
  usage: 'mem-sharing off|zero|identical [intervalMs] [pages]',
  title: 'End the scan for pages to share, or set what it looks for, how often, how far',
  run(hypervisor, [mode, interval = '1', pages = '1024']) {
    const units = unitsOf(hypervisor);
    if (mode !== 'off' && mode !== 'zero' && mode !== 'identical') {
      return failed(`Usage: xl ${memSharing.usage}`);
    }
    const intervalMs = Number(interval);
    const pagesPerScan = Number(pages);
    if (!(intervalMs > 0) || !Number.isInteger(pagesPerScan) || pagesPerScan < 1) {
      return failed(`${interval} ms and ${pages} pages were given; both must be above 0`);
    }
    units.sharing.configure(mode === 'off' ? undefined : { intervalMs, pagesPerScan, mode });
    return done(`The scan is ${stateOf(hypervisor)}.\n`);
  },
};

const isPolicy = (name: string): name is ReplacementName => Object.hasOwn(REPLACEMENTS, name);

export const memPagingSet = forGuest(
  'mem-paging-set <domain> <MemorySize> [policy]',
  'Set how much memory of a domain is in frames; the rest is swapped out',
  (hypervisor, domain, [size, policy]) => {
    const { swap, counts } = unitsOf(hypervisor);
    const bytes = memoryBytes(size);
    if (bytes === undefined) return failed(`invalid memory size: ${size ?? ''}`);
    if (!hasPageStates(domain)) return failed(refusal(domain));
    const chosen = policy ?? swap.policyOf(domain);
    if (!isPolicy(chosen)) {
      return failed(`${chosen} is no policy; there are ${Object.keys(REPLACEMENTS).join(', ')}`);
    }
    swap.setTarget(domain, Math.max(0, domain.pages - Math.floor(bytes / PAGE)), chosen);
    const isMet = swap.settle(domain);
    const { paged } = counts.of(domain);
    const text = `${paged} pages of domain ${domain.id} are swapped out, chosen by ${chosen}.\n`;
    return isMet ? done(text) : { ok: false, text };
  },
);

const MOST_SHOWN = 16;

export const logDirty = forGuest(
  'log-dirty <domain> on|off|clean',
  'Note the first write to each page; list the pages that were written',
  (hypervisor, domain, [what]) => {
    const { logDirty: log } = unitsOf(hypervisor);
    if (domain.type === 'pv') return failed(refusal(domain));
    if (what === 'on') log.start(domain);
    else if (what === 'off') log.stop(domain);
    else if (what !== 'clean' && what !== undefined) return failed(`Usage: xl ${logDirty.usage}`);
    if (!log.isOn(domain)) return done(`Log-dirty mode of domain ${domain.id} is off.\n`);
    const dirty = what === 'clean' ? log.clean(domain) : log.dirty(domain);
    const shown = dirty.slice(0, MOST_SHOWN).map((gfn) => `0x${gfn.toString(16)}`);
    const rest = dirty.length > MOST_SHOWN ? ', ...' : '';
    return done(
      `${dirty.length} pages of domain ${domain.id} are dirty${dirty.length === 0 ? '' : `: gfn ${shown.join(', ')}${rest}`}.\n`,
    );
  },
);
