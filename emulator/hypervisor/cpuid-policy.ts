/**
 * What CPUID tells a guest: the processor's leaves, and Xen's at 0x4000_0000.
 * Sources: SDM Vol. 2A, CPUID; Xen public/arch-x86/cpuid.h.
 */
import { PHYSICAL_ADDRESS_BITS } from '../cpu/paging.ts';
import type { XenVcpu } from './domain.ts';
import { XEN_MAJOR, XEN_MINOR } from './hypercalls/xen-version.ts';
import { apicIdOf } from './local-apics.ts';

export interface CpuidLeaf {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
  /** What it is, in words. */
  readonly title: string;
}

export const HYPERCALL_PAGE_MSR = 0x4000_0000;
/** One tick a nanosecond, one tick an instruction. */
export const TSC_KHZ = 1_000_000;

const bits = (...set: readonly number[]): number =>
  set.reduce((sum, bit) => (sum | (1 << bit)) >>> 0, 0);
const word = (text: string, at: number): number =>
  [3, 2, 1, 0].reduce((sum, index) => ((sum << 8) | (text.charCodeAt(at + index) || 0)) >>> 0, 0);

const VENDOR = 'GenuineIntel';
const XEN_SIGNATURE = 'XenVMMXenVMM';
const BRAND = 'Hyperstep x86-64 virtual processor'.padEnd(48, '\0');
/** CX16, MOVBE, POPCNT, hypervisor present. */
const FEATURES_ECX = bits(13, 22, 23, 31);
const X2APIC = bits(21);
const APIC = bits(9);
/** DE, PSE, TSC, MSR, PAE, CX8, SEP, PGE, CMOV, PAT. */
const FEATURES_EDX = bits(2, 3, 4, 5, 6, 8, 11, 13, 15, 16);
/** BMI1, SMEP, BMI2, ERMS, SMAP. */
const EXTENDED_EBX = bits(3, 7, 8, 9, 20);
/** LAHF in 64-bit mode, LZCNT. */
const AMD_ECX = bits(0, 5);
/** SYSCALL, NX, 1-GiB pages, LM. */
const AMD_EDX = bits(11, 20, 26, 29);

const leaf = (title: string, eax = 0, ebx = 0, ecx = 0, edx = 0): CpuidLeaf => ({
  title,
  eax: eax >>> 0,
  ebx: ebx >>> 0,
  ecx: ecx >>> 0,
  edx: edx >>> 0,
});

/** The values of a leaf for a vCPU; unknown leaves are zero. */
export const cpuidOf = (vcpu: XenVcpu, number: number, subleaf: number): CpuidLeaf =>
  vcpu.domain.type === 'pv' ? pvLeafOf(vcpu, number, subleaf) : hvmLeafOf(vcpu, number, subleaf);

/** What a PV kernel can not use is hidden: large and global pages, supervisor-mode protections. */
const PV_HIDDEN_EDX = bits(3, 13);
const PV_HIDDEN_EBX = bits(7, 20);
const PV_HIDDEN_AMD_EDX = bits(26);

const pvLeafOf = (vcpu: XenVcpu, number: number, subleaf: number): CpuidLeaf => {
  const all = hvmLeafOf(vcpu, number, subleaf);
  switch (number) {
    case 1:
      return { ...all, edx: (all.edx & ~PV_HIDDEN_EDX) >>> 0 };
    case 7:
      return { ...all, ebx: (all.ebx & ~PV_HIDDEN_EBX) >>> 0 };
    case 0xb:
      return leaf('extended topology, for those with an x2APIC');
    case 0x4000_0000:
      return { ...all, eax: 0x4000_0005 };
    case 0x4000_0002:
      return { ...all, ecx: 1 };
    case 0x4000_0004:
      return leaf('a leaf for HVM domains');
    case 0x4000_0005:
      return leaf('PV limits: width of machine addresses', 0, PHYSICAL_ADDRESS_BITS);
    case 0x8000_0001:
      return { ...all, edx: (all.edx & ~PV_HIDDEN_AMD_EDX) >>> 0 };
    default:
      return all;
  }
};

const hvmLeafOf = (vcpu: XenVcpu, number: number, subleaf: number): CpuidLeaf => {
  if (number >= 0x8000_0002 && number <= 0x8000_0004) {
    const at = (number - 0x8000_0002) * 16;
    return leaf('processor brand', ...[0, 4, 8, 12].map((offset) => word(BRAND, at + offset)));
  }
  switch (number) {
    case 0:
      return leaf('largest leaf, vendor', 0x16, word(VENDOR, 0), word(VENDOR, 8), word(VENDOR, 4));
    case 1:
      return leaf(
        'family, features',
        0x0005_0654,
        (apicIdOf(vcpu) << 24) | (vcpu.domain.vcpus.length << 16) | (8 << 8),
        FEATURES_ECX | (vcpu.apic === undefined ? 0 : X2APIC),
        FEATURES_EDX | (vcpu.apic?.isThere === true ? APIC : 0),
      );
    case 7:
      return subleaf === 0
        ? leaf('structured extended features', 0, EXTENDED_EBX)
        : leaf('structured extended features, no such sub-leaf');
    case 0xb:
      return topologyLeaf(vcpu, subleaf);
    case 0x16:
      return leaf('frequencies in MHz', TSC_KHZ / 1000, TSC_KHZ / 1000, 100);
    case 0x4000_0000:
      return leaf(
        "the hypervisor's largest leaf and signature",
        0x4000_0004,
        word(XEN_SIGNATURE, 0),
        word(XEN_SIGNATURE, 4),
        word(XEN_SIGNATURE, 8),
      );
    case 0x4000_0001:
      return leaf("Xen's version", (XEN_MAJOR << 16) | XEN_MINOR);
    case 0x4000_0002:
      return leaf('hypercall pages and their MSR', 1, HYPERCALL_PAGE_MSR);
    case 0x4000_0003:
      return timeLeaf(subleaf);
    case 0x4000_0004:
      return leaf('vCPU and domain', bits(3, 4, 6), vcpu.id, vcpu.domain.id);
    case 0x8000_0000:
      return leaf('largest extended leaf', 0x8000_0008);
    case 0x8000_0001:
      return leaf('extended features', 0, 0, AMD_ECX, AMD_EDX);
    case 0x8000_0008:
      return leaf('address sizes', (48 << 8) | PHYSICAL_ADDRESS_BITS);
    default:
      return leaf('a leaf that is not there');
  }
};

/** One thread a core; a package holds all. */
const topologyLeaf = (vcpu: XenVcpu, subleaf: number): CpuidLeaf => {
  const title = 'extended topology';
  const apicId = apicIdOf(vcpu);
  if (subleaf === 0) return leaf(title, 1, 1, 0x100, apicId);
  if (subleaf === 1) return leaf(title, 8, vcpu.domain.vcpus.length, 0x201, apicId);
  return leaf(title, 0, 0, subleaf & 0xff, apicId);
};

const timeLeaf = (subleaf: number): CpuidLeaf => {
  const title = 'time-stamp counter';
  if (subleaf === 0) return leaf(title, bits(1), 2, TSC_KHZ);
  // ns = (ticks << shift) * multiplier >> 32, as in vcpu_time_info.
  if (subleaf === 1) return leaf(title, 0, 0, 0x8000_0000, 1);
  return subleaf === 2 ? leaf(title, TSC_KHZ) : leaf(title);
};
