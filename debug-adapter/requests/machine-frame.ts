/** hyperstep/machineFrame: one machine frame, its owner, and who maps it. */
import type { Machine, MachineFrameView } from '../../emulator/index.ts';
import { domainText, KIND_WORDS, ownerText } from '../frame-kinds.ts';
import { hex } from '../numbers.ts';
import type { MachineFrameArguments, MachineFrameResponse } from '../protocol.ts';
import { defineRequest, RequestError } from './request.ts';

export const machineFrame = defineRequest<MachineFrameArguments, MachineFrameResponse>({
  command: 'hyperstep/machineFrame',
  handle(session, { mfn }) {
    const { machine } = session.debuggee;
    const frame = Number.isInteger(mfn) ? machine.frame(mfn) : undefined;
    if (frame === undefined) throw new RequestError(`There is no machine frame ${mfn}.`);
    const { kind, domain } = frame;
    const whose = ownerText(machine, kind, domain);
    return {
      title: `mfn ${hex(mfn)}: ${KIND_WORDS[kind].label}${domain === undefined ? '' : `, ${whose}`}`,
      rows: rowsOf(machine, mfn, frame).map(([name, value]) => ({ name, value })),
    };
  },
});

type Line = readonly [name: string, value: string];

const rowsOf = (machine: Machine, mfn: number, frame: MachineFrameView): Line[] => {
  const { kind, gfns, gfnCount, grants, pageType, references, shadows, former } = frame;
  const more = gfnCount - gfns.length;
  return [
    ['Machine address', hex(mfn * 4096)],
    ['Kind', `${KIND_WORDS[kind].label}. ${KIND_WORDS[kind].description}`],
    ['Owner', ownerOf(machine, frame)],
    ...line('Use', frame.label),
    ...gfns.map(
      ({ domain, gfn, type, permissions }): Line => [
        'Guest frame',
        `${domainText(machine, domain)}, gfn ${hex(gfn)}, ${type}, ${permissions}`,
      ],
    ),
    ...line('Guest frames', more > 0 ? `${more} more, ${gfnCount} in all` : undefined),
    ...grants.map(
      ({ by, reference, isReadOnly }): Line => [
        'Mapped by grant',
        `${domainText(machine, by)}, reference ${reference}, ${isReadOnly ? 'read-only' : 'read-write'}`,
      ],
    ),
    ...line(
      'Page type',
      pageType && `${pageType.type}, ${pageType.uses}${pageType.isPinned ? ', pinned' : ''}`,
    ),
    ...line('References', references === 0 ? undefined : `${references}`),
    ...line('Shadow of', shadows && `gfn ${hex(shadows.gfn)} at level ${shadows.level}`),
    ...line('Was', former && `${domainText(machine, former.domain)}, gfn ${hex(former.gfn)}`),
    ...line(
      'Release',
      frame.isLeaving ? 'Its domain has released it; it is free once nobody maps it.' : undefined,
    ),
  ];
};

const line = (name: string, value: string | undefined): Line[] =>
  value === undefined ? [] : [[name, value]];

const ownerOf = (machine: Machine, { owner }: MachineFrameView): string => {
  if (typeof owner === 'number') return domainText(machine, owner);
  return { free: 'Nobody', hypervisor: 'Hypervisor', shared: 'DOMID_COW, for all who share it' }[
    owner
  ];
};
