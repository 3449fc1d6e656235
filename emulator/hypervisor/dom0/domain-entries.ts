/**
 * What xl writes into xenstore for a new domain, and takes away with it.
 * Source: Xen tools/libs/light, libxl__domain_make; docs/misc/xenstore-paths.pandoc.
 */
import type { XenDomain } from '../domain.ts';
import { type Client, makeNode, removeNode, setPermissions, writeNode } from '../xenstore/nodes.ts';
import { domainPath } from '../xenstore/paths.ts';
import type { Permissions } from '../xenstore/permissions.ts';
import type { RingPorts, Rings } from './services.ts';

/** Output that xenconsoled keeps, in bytes. */
const CONSOLE_LIMIT = 1_048_576;

/** A UUID made of the domain's number: xl takes a random one. */
const uuidOf = (id: number): string => `00000000-0000-4000-8000-${`${id}`.padStart(12, '0')}`;
export const vmPath = (id: number): string => `/vm/${uuidOf(id)}`;

/** What xen-init-dom0 writes. */
export const describeDom0 = (client: Client, { id, config, pages }: XenDomain): void => {
  const home = domainPath(id);
  for (const [name, value] of [
    ['name', config.name],
    ['domid', id],
    ['memory/target', pages * 4],
    ['memory/static-max', pages * 4],
  ]) {
    writeNode(client, `${home}/${name}`, `${value}`);
  }
};

export const describeDomain = (
  client: Client,
  { id, config, vcpus, pages, maximumPages, type }: XenDomain,
  rings: Rings,
  ports: RingPorts,
): void => {
  const home = domainPath(id);
  /** Read by the domain; or its own. */
  const readable: Permissions = [
    { domain: 0, access: 'n' },
    { domain: id, access: 'r' },
  ];
  const own: Permissions = [{ domain: id, access: 'n' }];
  const make = (path: string, permissions: Permissions): void => {
    makeNode(client, path);
    setPermissions(client, path, permissions);
  };
  const write = (path: string, value: number | string, permissions: Permissions): void => {
    writeNode(client, path, `${value}`);
    setPermissions(client, path, permissions);
  };
  make(home, readable);
  make(vmPath(id), readable);
  make(`/libxl/${id}`, [{ domain: 0, access: 'n' }]);
  write(`/libxl/${id}/type`, type, [{ domain: 0, access: 'n' }]);
  write(`${vmPath(id)}/name`, config.name, readable);
  write(`${vmPath(id)}/uuid`, uuidOf(id), readable);
  write(`${vmPath(id)}/memory`, (pages * 4096) / 2 ** 20, readable);
  write(`${home}/vm`, vmPath(id), readable);
  write(`${home}/name`, config.name, readable);
  write(`${home}/domid`, id, readable);
  for (const name of ['cpu', 'memory', 'device', 'control']) make(`${home}/${name}`, readable);
  for (const { id: cpu, state } of vcpus) {
    const availability = state === 'offline' ? 'offline' : 'online';
    make(`${home}/cpu/${cpu}`, readable);
    write(`${home}/cpu/${cpu}/availability`, availability, readable);
  }
  write(`${home}/memory/static-max`, maximumPages * 4, readable);
  write(`${home}/memory/target`, pages * 4, readable);
  write(`${home}/memory/videoram`, 0, readable);
  for (const name of [
    'shutdown',
    'feature-poweroff',
    'feature-reboot',
    'feature-suspend',
    'sysrq',
  ]) {
    make(`${home}/control/${name}`, own);
  }
  write(`${home}/control/platform-feature-multiprocessor-suspend`, 1, readable);
  write(`${home}/control/platform-feature-xs_reset_watches`, 1, readable);
  make(`${home}/device/suspend`, readable);
  make(`${home}/device/suspend/event-channel`, own);
  for (const name of ['data', 'drivers', 'feature', 'attr', 'error']) make(`${home}/${name}`, own);
  make(`${home}/store`, readable);
  write(`${home}/store/port`, ports.store, readable);
  write(`${home}/store/ring-ref`, rings.storeFrame, readable);
  describeConsole(client, id, rings, ports, write, readable);
};

const describeConsole = (
  client: Client,
  id: number,
  rings: Rings,
  ports: RingPorts,
  write: (path: string, value: number | string, permissions: Permissions) => void,
  readable: Permissions,
): void => {
  const front = `${domainPath(id)}/console`;
  const back = `${domainPath(0)}/backend/console/${id}/0`;
  makeNode(client, front);
  setPermissions(client, front, readable);
  const entries: readonly (readonly [string, number | string])[] = [
    ['backend', back],
    ['backend-id', 0],
    ['limit', CONSOLE_LIMIT],
    ['type', 'xenconsoled'],
    ['output', 'pty'],
    ['tty', `/dev/pts/${id}`],
    ['port', ports.console],
    ['ring-ref', rings.consoleFrame],
  ];
  for (const [name, value] of entries) write(`${front}/${name}`, value, readable);
  for (const [name, value] of [
    ['frontend', front],
    ['frontend-id', id],
    ['online', 1],
    ['state', 1],
    ['protocol', 'vt100'],
  ] as const) {
    write(`${back}/${name}`, value, readable);
  }
};

export const forgetDomain = (client: Client, id: number): void => {
  for (const path of [
    domainPath(id),
    vmPath(id),
    `/libxl/${id}`,
    `${domainPath(0)}/backend/console/${id}`,
  ]) {
    removeNode(client, path);
  }
};
