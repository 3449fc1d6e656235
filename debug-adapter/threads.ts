/**
 * A vCPU is a thread; its id tells which.
 */
import type { Machine, Vcpu } from '../emulator/index.ts';

const VCPUS_PER_DOMAIN = 256;

export const threadIdOf = (domain: number, vcpu: number): number =>
  domain * VCPUS_PER_DOMAIN + vcpu;

export const vcpuOfThread = (
  threadId: number,
): { readonly domain: number; readonly vcpu: number } => ({
  domain: Math.floor(threadId / VCPUS_PER_DOMAIN),
  vcpu: threadId % VCPUS_PER_DOMAIN,
});

export const findVcpu = (machine: Machine, domain: number, vcpu: number): Vcpu | undefined =>
  machine.domains.find(({ id }) => id === domain)?.vcpus.find(({ id }) => id === vcpu);

/** 'd1.v0' */
export const vcpuName = (domain: number, vcpu: number): string => `d${domain}.v${vcpu}`;
