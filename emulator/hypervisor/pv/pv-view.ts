/**
 * What Xen keeps of a PV vCPU, as the door shows it.
 */
import { exceptionOf } from '../../../isa/index.ts';
import type { PvGroupView } from '../../machine.ts';
import type { XenVcpu } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { isUpcallMasked } from './bounce.ts';
import { directPagingOf } from './mmu/direct-paging.ts';
import { VM_ASSIST } from './vm-assist.ts';

export const viewPvVcpu = (hypervisor: Hypervisor, vcpu: XenVcpu): PvGroupView[] | undefined => {
  const { pv, domain } = vcpu;
  if (pv === undefined) return undefined;
  const roots = directPagingOf(hypervisor).roots(vcpu);
  const gates = [...pv.gates].sort(([a], [b]) => a - b);
  const assists = Object.entries(VM_ASSIST).filter(([, bit]) => domain.pv?.assists.has(bit));
  return [
    {
      title: 'Mode',
      rows: [
        { name: 'runs', value: pv.isKernel ? 'kernel' : 'user' },
        { name: 'events', value: isUpcallMasked(hypervisor, vcpu) ? 'masked' : 'open' },
        { name: 'kernel L4, mfn', value: BigInt(roots.kernel) },
        { name: 'user L4, mfn', value: BigInt(roots.user) },
        { name: 'kernel SS', value: BigInt(pv.kernelSs) },
        { name: 'kernel SP', value: pv.kernelSp },
        { name: 'CR0.TS', value: pv.taskSwitched ? 1n : 0n },
        { name: 'IOPL', value: BigInt(pv.iopl) },
        { name: 'vm_assist', value: assists.map(([name]) => name).join(', ') || 'none' },
      ],
    },
    {
      title: 'Callbacks',
      rows: [...pv.callbacks].map(([name, { address, masksEvents }]) => ({
        name: masksEvents ? `${name}, masks events` : name,
        value: address,
      })),
    },
    {
      title: 'Trap table',
      rows: gates.map(([vector, { address, dpl, masksEvents }]) => ({
        name: `${vector} ${exceptionOf(vector)?.name ?? ''} DPL ${dpl}${masksEvents ? ', masks events' : ''}`,
        value: address,
      })),
    },
    {
      title: 'Descriptor tables',
      rows: [
        { name: 'GDT entries', value: BigInt(pv.gdtEntries) },
        ...pv.gdtFrames.map((mfn, index) => ({
          name: `GDT frame ${index}, mfn`,
          value: BigInt(mfn),
        })),
        { name: 'LDT base', value: pv.ldtBase },
        { name: 'LDT entries', value: BigInt(pv.ldtEntries) },
      ],
    },
  ];
};
