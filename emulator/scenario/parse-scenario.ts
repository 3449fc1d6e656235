/**
 * Checks the text of a scenario, with the place of each mistake.
 */
import { parseTree, type TreeNode } from './json-tree.ts';
import type {
  Scenario,
  ScenarioDomain,
  ScenarioMachine,
  ScenarioProblem,
  ScenarioResult,
} from './scenario.ts';

const SCHEDULERS = ['round-robin', 'credit2'] as const;
const POLICIES = ['random', 'lru', 'clock'] as const;

/** Parses and checks `*.hyperstep.json`; the problems are in the order of the text. */
export const parseScenario = (text: string): ScenarioResult => {
  const tree = parseTree(text);
  if ('problem' in tree) return { scenario: undefined, problems: [tree.problem] };
  const check = createCheck(text);
  const scenario = readScenario(tree.node, check);
  const [first, ...rest] = check.problems;
  return first === undefined
    ? { scenario, problems: [] }
    : { scenario: undefined, problems: [first, ...rest] };
};

interface Check {
  readonly problems: ScenarioProblem[];
  report(node: TreeNode, message: string): void;
}

const createCheck = (text: string): Check => {
  const problems: ScenarioProblem[] = [];
  return {
    problems,
    report(node, message) {
      const before = text.slice(0, node.offset);
      const line = before.split('\n').length;
      const column = node.offset - before.lastIndexOf('\n');
      problems.push({
        message: `${node.path || 'scenario'}: ${message}`,
        path: node.path,
        line,
        column,
      });
    },
  };
};

const MACHINE_KEYS = ['pcpus', 'memory', 'scheduler', 'sharing', 'swap', 'overcommit'] as const;

const readScenario = (node: TreeNode, check: Check): Scenario => {
  const root = members(node, ['$schema', 'machine', 'domains'], check);
  const machine = root.get('machine');
  const domains = root.get('domains');
  if (domains === undefined) check.report(node, '"domains" is missing.');
  const list = domains === undefined ? [] : (elements(domains, check) ?? []);
  if (domains !== undefined && list.length === 0)
    check.report(domains, 'at least one domain is needed.');
  const machineMembers = machine === undefined ? new Map() : members(machine, MACHINE_KEYS, check);
  const pcpus = integer(machineMembers.get('pcpus'), 1, 64, check) ?? 1;
  const read = list.map((domain) => readDomain(domain, pcpus, check));
  const seen = new Set<string>();
  read.forEach(({ name }, index) => {
    const place = list[index];
    if (seen.has(name) && place !== undefined) check.report(place, `the name "${name}" is taken.`);
    seen.add(name);
  });
  return {
    machine: {
      pcpus,
      memory: integer(machineMembers.get('memory'), 1, 4000, check),
      scheduler: oneOf(machineMembers.get('scheduler'), SCHEDULERS, check) ?? 'round-robin',
      ...readMemory(machineMembers, check),
    },
    domains: read,
  };
};

type MemoryMembers = Pick<ScenarioMachine, 'sharing' | 'swap' | 'overcommit'>;

const readMemory = (machine: ReadonlyMap<string, TreeNode>, check: Check): MemoryMembers => {
  const part = (name: string, keys: readonly string[]) => {
    const node = machine.get(name);
    return node && members(node, keys, check);
  };
  const sharing = part('sharing', ['intervalMs', 'pagesPerScan', 'mode']);
  const swap = part('swap', ['policy']);
  const overcommit = part('overcommit', ['low', 'high', 'intervalMs']);
  const low = integer(overcommit?.get('low'), 1, 99, check) ?? 10;
  const highNode = overcommit?.get('high');
  const high = integer(highNode, 1, 99, check) ?? Math.max(20, low);
  if (highNode !== undefined && high < low) {
    check.report(highNode, `${high} is less than low, ${low}.`);
  }
  return {
    sharing: sharing && {
      intervalMs: milliseconds(sharing.get('intervalMs'), check) ?? 1,
      pagesPerScan: integer(sharing.get('pagesPerScan'), 1, 2 ** 20, check) ?? 1024,
      mode: oneOf(sharing.get('mode'), ['zero', 'identical'] as const, check) ?? 'zero',
    },
    swap: swap && { policy: oneOf(swap.get('policy'), POLICIES, check) ?? 'clock' },
    overcommit: overcommit && {
      low,
      high,
      intervalMs: milliseconds(overcommit.get('intervalMs'), check) ?? 1,
    },
  };
};

const DOMAIN_KEYS = [
  'name',
  'type',
  'kernel',
  'ramdisk',
  'cmdline',
  'memory',
  'maxmem',
  'mem_target_paging',
  'hap',
  'shadow_memory',
  'vcpus',
  'cpus',
  'cpu_weight',
  'cap',
  'on_create',
] as const;

const readDomain = (node: TreeNode, pcpus: number, check: Check): ScenarioDomain => {
  const all = members(node, DOMAIN_KEYS, check);
  for (const key of ['name', 'kernel']) {
    if (!all.has(key)) check.report(node, `"${key}" is missing.`);
  }
  const memory = integer(all.get('memory'), 1, 3072, check) ?? 32;
  const maxmem = integer(all.get('maxmem'), 1, 3072, check) ?? memory;
  const maximum = all.get('maxmem');
  if (maximum !== undefined && maxmem < memory) {
    check.report(maximum, `${maxmem} is less than memory, ${memory}.`);
  }
  return {
    name: string(all.get('name'), check) ?? '',
    type: oneOf(all.get('type'), ['pv', 'pvh'] as const, check),
    kernel: string(all.get('kernel'), check) ?? '',
    ramdisk: string(all.get('ramdisk'), check),
    cmdline: string(all.get('cmdline'), check, true) ?? '',
    memory,
    maxmem,
    mem_target_paging: integer(all.get('mem_target_paging'), 1, memory, check),
    hap: boolean(all.get('hap'), check) ?? true,
    shadow_memory: integer(all.get('shadow_memory'), 1, 1024, check),
    vcpus: integer(all.get('vcpus'), 1, 32, check) ?? 1,
    cpus: cpuList(all.get('cpus'), pcpus, check),
    cpu_weight: integer(all.get('cpu_weight'), 1, 65_535, check) ?? 256,
    cap: integer(all.get('cap'), 0, 6400, check) ?? 0,
    on_create: oneOf(all.get('on_create'), ['running', 'paused'] as const, check) ?? 'running',
  };
};

const members = (
  node: TreeNode,
  known: readonly string[],
  check: Check,
): ReadonlyMap<string, TreeNode> => {
  if (node.kind !== 'object') {
    check.report(node, `an object was expected, not ${node.kind}.`);
    return new Map();
  }
  const found = new Map<string, TreeNode>();
  for (const [key, value] of node.members) {
    if (!known.includes(key)) {
      check.report(value, `"${key}" is not known; expected are ${known.join(', ')}.`);
    }
    if (found.has(key)) check.report(value, `"${key}" is given twice.`);
    found.set(key, value);
  }
  return found;
};

const elements = (node: TreeNode, check: Check): readonly TreeNode[] | undefined => {
  if (node.kind === 'array') return node.elements;
  check.report(node, `a list was expected, not ${node.kind}.`);
  return undefined;
};

const integer = (
  node: TreeNode | undefined,
  least: number,
  most: number,
  check: Check,
): number | undefined => {
  if (node === undefined) return undefined;
  const value = node.kind === 'number' ? node.value : Number.NaN;
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  check.report(node, `a whole number from ${least} to ${most} was expected.`);
  return undefined;
};

/** xl.cfg has 0 and 1. */
const boolean = (node: TreeNode | undefined, check: Check): boolean | undefined => {
  if (node === undefined) return undefined;
  if (node.kind === 'boolean') return node.value;
  if (node.kind === 'number' && (node.value === 0 || node.value === 1)) return node.value === 1;
  check.report(node, 'true, false, 1 or 0 was expected.');
  return undefined;
};

/** Simulated time: an instruction takes a nanosecond. */
const milliseconds = (node: TreeNode | undefined, check: Check): number | undefined => {
  if (node === undefined) return undefined;
  const value = node.kind === 'number' ? node.value : Number.NaN;
  if (value >= 0.001 && value <= 1e6) return value;
  check.report(node, 'a number of milliseconds from 0.001 to 1000000 was expected.');
  return undefined;
};

const string = (
  node: TreeNode | undefined,
  check: Check,
  mayBeEmpty = false,
): string | undefined => {
  if (node === undefined) return undefined;
  if (node.kind === 'string' && (mayBeEmpty || node.value !== '')) return node.value;
  check.report(node, 'a text was expected.');
  return undefined;
};

const oneOf = <T extends string>(
  node: TreeNode | undefined,
  allowed: readonly T[],
  check: Check,
): T | undefined => {
  if (node === undefined) return undefined;
  const found = node.kind === 'string' ? allowed.find((value) => value === node.value) : undefined;
  if (found === undefined)
    check.report(node, `one of ${allowed.map((a) => `"${a}"`).join(', ')} was expected.`);
  return found;
};

/** xl.cfg's CPU list: "all", "0-3,5,^1", or a list of numbers. */
const cpuList = (
  node: TreeNode | undefined,
  pcpus: number,
  check: Check,
): readonly number[] | undefined => {
  if (node === undefined) return undefined;
  if (node.kind === 'array') {
    return node.elements.flatMap((element) => integer(element, 0, pcpus - 1, check) ?? []);
  }
  const text = string(node, check);
  if (text === undefined || text === 'all') return undefined;
  const chosen = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^\s*(\^?)(\d+)(?:-(\d+))?\s*$/.exec(part);
    const first = Number(match?.[2]);
    const last = Number(match?.[3] ?? match?.[2]);
    if (match === null || last >= pcpus || first > last) {
      check.report(node, `"${part}" is not a CPU or range of CPUs from 0 to ${pcpus - 1}.`);
      return undefined;
    }
    for (let cpu = first; cpu <= last; cpu += 1) {
      if (match[1] === '^') chosen.delete(cpu);
      else chosen.add(cpu);
    }
  }
  if (chosen.size === 0) check.report(node, `"${text}" leaves no CPU.`);
  return [...chosen].sort((a, b) => a - b);
};
