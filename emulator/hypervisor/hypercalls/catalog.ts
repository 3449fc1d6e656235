/**
 * Every hypercall, and the names of those numbers that have none here.
 * Source: Xen public/xen.h, __HYPERVISOR_ numbers.
 */
import type { DomainType } from '../../machine.ts';
import { consoleIo } from './console-io.ts';
import {
  eventChannelAllocUnbound,
  eventChannelBindInterdomain,
  eventChannelBindIpi,
  eventChannelBindVcpu,
  eventChannelBindVirq,
} from './event-channel-bind.ts';
import {
  eventChannelExpandArray,
  eventChannelInitControl,
  eventChannelSetPriority,
} from './event-channel-fifo.ts';
import {
  eventChannelClose,
  eventChannelReset,
  eventChannelStatus,
  eventChannelUnmask,
} from './event-channel-port.ts';
import { eventChannelSend } from './event-channel-send.ts';
import { grantCopy } from './grant-copy.ts';
import { grantMap } from './grant-map.ts';
import { grantQuerySize } from './grant-query-size.ts';
import { grantSetupTable } from './grant-setup-table.ts';
import { grantStatusFrames } from './grant-status-frames.ts';
import { grantSwap } from './grant-swap.ts';
import { grantTransfer } from './grant-transfer.ts';
import { grantUnmap } from './grant-unmap.ts';
import { grantUnmapAndReplace } from './grant-unmap-and-replace.ts';
import { grantGetVersion, grantSetVersion } from './grant-version.ts';
import { hvmGetParam, hvmSetParam, hvmSetUpcallVector } from './hvm-op.ts';
import type { Hypercall } from './hypercall.ts';
import { memoryAddToPhysmap } from './memory-add-to-physmap.ts';
import { memoryDecreaseReservation } from './memory-decrease-reservation.ts';
import { memoryPopulatePhysmap } from './memory-populate-physmap.ts';
import {
  memoryCurrentReservation,
  memoryMaximumReservation,
  memoryMemoryMap,
} from './memory-queries.ts';
import { setGdt, updateDescriptor } from './pv-descriptors.ts';
import {
  callbackRegister,
  callbackUnregister,
  setCallbacks,
  setTrapTable,
  stackSwitch,
} from './pv-entries.ts';
import { iret } from './pv-iret.ts';
import { pvMemoryExchange } from './pv-memory-exchange.ts';
import {
  pvAddToPhysmap,
  pvMachphysMapping,
  pvMachphysMfnList,
  pvMemoryMap,
  pvRemoveFromPhysmap,
} from './pv-memory-queries.ts';
import {
  pvDecreaseReservation,
  pvIncreaseReservation,
  pvPopulatePhysmap,
} from './pv-memory-reservation.ts';
import { mmuUpdate } from './pv-mmu-update.ts';
import { mmuextOp } from './pv-mmuext-op.ts';
import {
  fpuTaskswitch,
  getDebugreg,
  multicall,
  physdevSetIobitmap,
  physdevSetIopl,
  setDebugreg,
  setTimerOp,
  vmAssist,
} from './pv-processor.ts';
import { setSegmentBase } from './pv-segments.ts';
import { updateVaMapping, updateVaMappingOtherdomain } from './pv-update-va-mapping.ts';
import { pvVcpuDown, pvVcpuInitialise, pvVcpuUp } from './pv-vcpu-op.ts';
import { schedBlock, schedShutdown, schedYield } from './sched-op.ts';
import {
  vcpuIsUp,
  vcpuRegisterInfo,
  vcpuSetSingleshotTimer,
  vcpuStopPeriodicTimer,
  vcpuStopSingleshotTimer,
} from './vcpu-op.ts';
import {
  xenVersionCapabilities,
  xenVersionChangeSet,
  xenVersionExtra,
  xenVersionFeatures,
  xenVersionPageSize,
  xenVersionVersion,
} from './xen-version.ts';

export const HYPERCALLS: readonly Hypercall[] = [
  callbackRegister,
  callbackUnregister,
  consoleIo,
  eventChannelAllocUnbound,
  eventChannelBindInterdomain,
  eventChannelBindIpi,
  eventChannelBindVcpu,
  eventChannelBindVirq,
  eventChannelClose,
  eventChannelExpandArray,
  eventChannelInitControl,
  eventChannelReset,
  eventChannelSend,
  eventChannelSetPriority,
  eventChannelStatus,
  eventChannelUnmask,
  fpuTaskswitch,
  getDebugreg,
  grantCopy,
  grantGetVersion,
  grantMap,
  grantQuerySize,
  grantSetVersion,
  grantSetupTable,
  grantStatusFrames,
  grantSwap,
  grantTransfer,
  grantUnmap,
  grantUnmapAndReplace,
  hvmGetParam,
  hvmSetParam,
  hvmSetUpcallVector,
  iret,
  memoryAddToPhysmap,
  memoryCurrentReservation,
  memoryDecreaseReservation,
  memoryMaximumReservation,
  memoryMemoryMap,
  memoryPopulatePhysmap,
  mmuextOp,
  mmuUpdate,
  multicall,
  physdevSetIobitmap,
  physdevSetIopl,
  pvAddToPhysmap,
  pvDecreaseReservation,
  pvIncreaseReservation,
  pvMachphysMapping,
  pvMachphysMfnList,
  pvMemoryExchange,
  pvMemoryMap,
  pvPopulatePhysmap,
  pvRemoveFromPhysmap,
  pvVcpuDown,
  pvVcpuInitialise,
  pvVcpuUp,
  schedBlock,
  schedShutdown,
  schedYield,
  setCallbacks,
  setDebugreg,
  setGdt,
  setSegmentBase,
  setTimerOp,
  setTrapTable,
  stackSwitch,
  updateDescriptor,
  updateVaMapping,
  updateVaMappingOtherdomain,
  vcpuIsUp,
  vcpuRegisterInfo,
  vcpuSetSingleshotTimer,
  vcpuStopPeriodicTimer,
  vcpuStopSingleshotTimer,
  vmAssist,
  xenVersionCapabilities,
  xenVersionChangeSet,
  xenVersionExtra,
  xenVersionFeatures,
  xenVersionPageSize,
  xenVersionVersion,
];

/** Names by number. */
export const HYPERCALL_NAMES: Readonly<Record<number, string>> = {
  0: 'set_trap_table',
  1: 'mmu_update',
  2: 'set_gdt',
  3: 'stack_switch',
  4: 'set_callbacks',
  5: 'fpu_taskswitch',
  7: 'platform_op',
  8: 'set_debugreg',
  9: 'get_debugreg',
  10: 'update_descriptor',
  12: 'memory_op',
  13: 'multicall',
  14: 'update_va_mapping',
  15: 'set_timer_op',
  16: 'event_channel_op_compat',
  17: 'xen_version',
  18: 'console_io',
  20: 'grant_table_op',
  21: 'vm_assist',
  22: 'update_va_mapping_otherdomain',
  23: 'iret',
  24: 'vcpu_op',
  25: 'set_segment_base',
  26: 'mmuext_op',
  29: 'sched_op',
  30: 'callback_op',
  31: 'xenoprof_op',
  32: 'event_channel_op',
  33: 'physdev_op',
  34: 'hvm_op',
  35: 'sysctl',
  36: 'domctl',
  39: 'xenpmu_op',
  40: 'dm_op',
};

const byKey = new Map(HYPERCALLS.map((one) => [keyOf(one.number, one.command, one.only), one]));
const numbersWithCommands = new Set(
  HYPERCALLS.filter(({ command }) => command !== undefined).map(({ number }) => number),
);

function keyOf(number: number, command: number | undefined, only = ''): string {
  return `${number}.${command ?? ''}.${only}`;
}

/** Whether the first argument of this hypercall is a command. */
export const hasCommands = (number: number): boolean => numbersWithCommands.has(number);

/** The definition for a type of domain, or undefined: -ENOSYS. */
export const findHypercall = (
  number: number,
  command: number,
  type: DomainType,
): Hypercall | undefined => {
  const key = hasCommands(number) ? command : undefined;
  const only = type === 'pv' ? 'pv' : 'hvm';
  return byKey.get(keyOf(number, key, only)) ?? byKey.get(keyOf(number, key));
};
