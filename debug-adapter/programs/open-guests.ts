/**
 * From a launch argument to a machine's configuration: a program gets a domain with defaults,
 * a scenario (*.hyperstep.json) says all by itself.
 */

import { folderOf, joinPath, stemOf } from '../../assembler/index.ts';
import {
  type DomainConfig,
  type DomainType,
  type MachineConfig,
  parseScenario,
  type ScenarioDomain,
} from '../../emulator/index.ts';
import type { AdapterHost } from '../host.ts';
import { present } from '../present.ts';
import { LaunchError, type OpenedProgram, openProgram, readBytes } from './open-program.ts';

export interface GuestOptions {
  readonly memory?: number | undefined;
  readonly hap?: boolean | undefined;
  readonly vcpus?: number | undefined;
  readonly cmdline?: string | undefined;
  readonly include?: readonly string[] | undefined;
  readonly domainType?: DomainType | undefined;
  readonly engine?: 'interpreter' | 'reference' | undefined;
}

export interface OpenedGuests {
  readonly config: MachineConfig;
  /** The program of each domain, in the order of the configuration. */
  readonly programs: readonly OpenedProgram[];
}

const MEBIBYTE = 2 ** 20;
const PAGES_PER_MEBIBYTE = 256;
const DEFAULT_MEMORY = 64;
/** As in a scenario. */
const MAX_MEMORY = 3072;
const MAX_VCPUS = 32;

const checkRange = (what: string, value: number | undefined, most: number): void => {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) return;
  throw new LaunchError([`${what}: a whole number from 1 to ${most} was expected, not ${value}.`]);
};

export const isScenario = (path: string): boolean => /\.hyperstep\.json$/i.test(path);

/** Throws LaunchError. */
export const openGuests = async (
  host: AdapterHost,
  path: string,
  options: GuestOptions,
): Promise<OpenedGuests> => {
  if (isScenario(path)) return openScenario(host, path, options);
  checkRange('memory, in MiB', options.memory, MAX_MEMORY);
  checkRange('vcpus', options.vcpus, MAX_VCPUS);
  const program = await openProgram(host, path, options.include);
  const domain: DomainConfig = present({
    name: stemOf(path) === 'main' ? stemOf(folderOf(path)) || 'main' : stemOf(path),
    program: program.bytes,
    programName: path,
    memoryBytes: (options.memory ?? DEFAULT_MEMORY) * MEBIBYTE,
    hap: options.hap,
    vcpus: options.vcpus,
    commandLine: options.cmdline,
    type: options.domainType,
  });
  return {
    config: present({ domains: [domain], engine: options.engine }),
    programs: [program],
  };
};

const openScenario = async (
  host: AdapterHost,
  path: string,
  options: GuestOptions,
): Promise<OpenedGuests> => {
  const { scenario, problems } = parseScenario(
    new TextDecoder().decode(await readBytes(host, path)),
  );
  if (scenario === undefined) {
    throw new LaunchError(
      problems.map(({ line, column, message }) => `${path}:${line}:${column}: error: ${message}`),
    );
  }
  const folder = folderOf(path);
  const { machine, domains } = scenario;
  const programs = await Promise.all(
    domains.map(({ kernel }, index) =>
      openProgram(host, joinPath(folder, kernel), options.include).catch((error: unknown) => {
        if (!(error instanceof LaunchError)) throw error;
        throw new LaunchError(
          error.problems.map((problem) => `${path}: domains[${index}].kernel: ${problem}`),
        );
      }),
    ),
  );
  const configs = await Promise.all(
    domains.map((domain, index) => domainOf(host, folder, domain, programs[index])),
  );
  return {
    config: present({
      pcpus: machine.pcpus,
      scheduler: machine.scheduler,
      memoryBytes: machine.memory === undefined ? undefined : machine.memory * MEBIBYTE,
      sharing: machine.sharing,
      swap: machine.swap,
      overcommit: machine.overcommit && {
        lowPercent: machine.overcommit.low,
        highPercent: machine.overcommit.high,
        intervalMs: machine.overcommit.intervalMs,
      },
      engine: options.engine,
      domains: configs,
    }),
    programs,
  };
};

const domainOf = async (
  host: AdapterHost,
  folder: string,
  domain: ScenarioDomain,
  program: OpenedProgram | undefined,
): Promise<DomainConfig> =>
  present({
    name: domain.name,
    type: domain.type,
    program: program?.bytes ?? new Uint8Array(),
    programName: joinPath(folder, domain.kernel),
    memoryBytes: domain.memory * MEBIBYTE,
    maximumMemoryBytes: domain.maxmem * MEBIBYTE,
    swappedPages:
      (domain.memory - (domain.mem_target_paging ?? domain.memory)) * PAGES_PER_MEBIBYTE,
    hap: domain.hap,
    shadowMemoryBytes:
      domain.shadow_memory === undefined ? undefined : domain.shadow_memory * MEBIBYTE,
    vcpus: domain.vcpus,
    commandLine: domain.cmdline,
    modules:
      domain.ramdisk === undefined
        ? undefined
        : [{ bytes: await readBytes(host, joinPath(folder, domain.ramdisk)) }],
    paused: domain.on_create === 'paused',
    affinity: domain.cpus,
    weight: domain.cpu_weight,
    cap: domain.cap,
  });
