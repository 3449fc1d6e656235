/**
 * A hash of what guests can see: RAM, the registers of every vCPU, and what the hypervisor's
 * components save. Two 32-bit FNV-1a lanes
 * with different offsets; pages of zeros are passed over, with their number mixed in at the next.
 */
import { CPL, RAM, registerSlot, SEGMENTS, ST, XMM } from './cpu/state.ts';
import { FIELD } from './hypervisor/hardware.ts';
import type { Hypervisor } from './hypervisor/hypervisor.ts';

const PRIME = 0x0100_0193;

export const hashState = ({ hardware, domains, parts }: Hypervisor): string => {
  let low = 0x811c_9dc5;
  let high = 0x9747_b28c;
  const mix = (word: number): void => {
    low = Math.imul(low ^ word, PRIME);
    high = Math.imul(high ^ (word >>> 15) ^ (word << 17), PRIME) + low;
  };
  const mixBig = (value: bigint): void => {
    mix(Number(BigInt.asIntN(32, value)));
    mix(Number(BigInt.asIntN(32, value >> 32n)));
  };
  const { words, ramBytes } = hardware.memory;
  const first = RAM >>> 2;
  for (let page = 0; page < ramBytes >>> 12; page += 1) {
    const start = first + page * 1024;
    let any = 0;
    for (let at = start; at < start + 1024; at += 1) any |= words[at] ?? 0;
    if (any === 0) continue;
    mix(page);
    for (let at = start; at < start + 1024; at += 1) mix(words[at] ?? 0);
  }
  for (const { vcpus } of domains.values()) {
    for (const vcpu of vcpus) {
      for (let register = 0; register < 16; register += 1) {
        mixBig(hardware.slot(vcpu, registerSlot(register)));
      }
      mixBig(hardware.peekField(vcpu, FIELD.GUEST_RIP));
      mixBig(hardware.peekField(vcpu, FIELD.GUEST_RFLAGS));
      for (let at = SEGMENTS; at < CPL; at += 8) mixBig(hardware.slot(vcpu, at));
      for (let at = XMM; at < ST + 128; at += 8) mixBig(hardware.slot(vcpu, at));
      mix(vcpu.retired | 0);
    }
  }
  for (const [name, part] of parts) {
    const text = name + JSON.stringify(part.save());
    for (let at = 0; at < text.length; at += 1) mix(text.charCodeAt(at));
  }
  return [high, low].map((part) => (part >>> 0).toString(16).padStart(8, '0')).join('');
};
