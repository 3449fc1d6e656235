/**
 * What a PV guest may ask the hypervisor to do for it. Source: Xen public/xen.h, VMASST_TYPE_.
 */
export const VM_ASSIST = {
  fourGigabyteSegments: 0,
  fourGigabyteSegmentsNotify: 1,
  writablePageTables: 2,
  paeExtendedCr3: 3,
  architecturalIopl: 4,
  runstateUpdateFlag: 5,
  m2pStrict: 32,
} as const;

/** Those that a 64-bit PV domain may switch. */
export const PV_ASSISTS: ReadonlySet<number> = new Set([
  VM_ASSIST.fourGigabyteSegments,
  VM_ASSIST.fourGigabyteSegmentsNotify,
  VM_ASSIST.writablePageTables,
  VM_ASSIST.paeExtendedCr3,
  VM_ASSIST.architecturalIopl,
  VM_ASSIST.runstateUpdateFlag,
  VM_ASSIST.m2pStrict,
]);
