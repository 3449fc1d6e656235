import { expect, test } from 'vitest';
import { type Ipi, LocalApic, REGISTER } from './local-apic.ts';

const ENABLED = 0xfee0_0900n;
const X2 = 0xfee0_0d00n;
const { TPR, PPR, EOI, SVR, ISR, IRR, ESR, ICR, LVT_TIMER, LVT_ERROR } = REGISTER;
const { INITIAL_COUNT, CURRENT_COUNT, DIVIDE, SELF_IPI } = REGISTER;
const BY_1 = 0xbn;
const PERIODIC = 1n << 17n;
const MASKED = 1n << 16n;

/** An x2APIC that software has enabled, whose IPIs to itself arrive. */
const start = (id = 0) => {
  const sent: Ipi[] = [];
  const processor = {
    base: ENABLED,
    cr8: 0,
    send(ipi: Ipi) {
      sent.push(ipi);
      if (ipi.to === 'self') apic.request(ipi.vector, 'IPI');
    },
    requested() {},
  };
  const apic = new LocalApic(id, processor);
  const put = (register: number, value: bigint, nowNs = 0) => apic.write(register, value, nowNs);
  apic.setBase(X2);
  put(SVR, 0x1ffn);
  return { apic, processor, sent, put };
};

/** Nanoseconds of a count with divisor 1. */
const COUNT_NS = 10;

test('one shot fires once, when the count is 0', () => {
  const { apic, put } = start();
  put(DIVIDE, BY_1);
  put(LVT_TIMER, 0x41n);
  put(INITIAL_COUNT, 100n, 50);

  expect(apic.nextNs).toBe(50 + 100 * COUNT_NS);
  expect(apic.read(CURRENT_COUNT, 50 + 30 * COUNT_NS)).toBe(70n);
  apic.fire(49 + 100 * COUNT_NS);
  expect(apic.deliverable).toBeUndefined();
  apic.fire(50 + 100 * COUNT_NS);
  expect(apic.deliverable).toBe(0x41);
  expect(apic.accept(0x41, 5000)).toBe('local APIC timer');
  expect(apic.nextNs).toBeUndefined();
  expect(apic.read(CURRENT_COUNT, 9000)).toBe(0n);
});

test('periodic fires again, in step with its start', () => {
  const { apic, put } = start();
  put(DIVIDE, BY_1);
  put(LVT_TIMER, 0x41n | PERIODIC);
  put(INITIAL_COUNT, 100n);
  const period = 100 * COUNT_NS;

  // Taken late: the ticks in between are one.
  apic.fire(period * 3 + 5);
  expect(apic.nextNs).toBeUndefined();
  apic.accept(0x41, period * 3 + 7);
  expect(apic.nextNs).toBe(period * 4);
  expect(apic.read(CURRENT_COUNT, period * 3 + 10 * COUNT_NS)).toBe(90n);
  put(INITIAL_COUNT, 0n, period * 3 + 500);
  expect(apic.nextNs).toBeUndefined();
});

test('the divisor changes while the count runs', () => {
  const { apic, put } = start();
  put(DIVIDE, BY_1);
  put(LVT_TIMER, 0x41n);
  put(INITIAL_COUNT, 100n);
  put(DIVIDE, 0n, 60 * COUNT_NS);

  expect(apic.read(CURRENT_COUNT, 60 * COUNT_NS)).toBe(40n);
  expect(apic.nextNs).toBe(60 * COUNT_NS + 40 * 2 * COUNT_NS);
});

test.each([
  [0n, 2],
  [1n, 4],
  [2n, 8],
  [3n, 16],
  [8n, 32],
  [9n, 64],
  [10n, 128],
  [11n, 1],
])('divide configuration %d divides by %d', (configuration, divisor) => {
  const { apic, put } = start();
  put(DIVIDE, configuration);
  put(LVT_TIMER, 0x41n);
  put(INITIAL_COUNT, 7n);

  expect(apic.nextNs).toBe(7 * divisor * COUNT_NS);
});

test('a masked timer counts, and its end is lost', () => {
  const { apic, put } = start();
  put(LVT_TIMER, 0x41n | MASKED);
  put(INITIAL_COUNT, 5n);

  expect(apic.nextNs).toBeUndefined();
  put(LVT_TIMER, 0x41n, 1_000_000);
  expect(apic.deliverable).toBeUndefined();
  expect(apic.nextNs).toBeUndefined();
});

test('the higher vector goes first, and lower ones wait for EOI', () => {
  const { apic, put } = start();
  put(SELF_IPI, 0x31n);
  put(SELF_IPI, 0x45n);

  expect(apic.read(IRR + 1, 0)).toBe(1n << 17n);
  expect(apic.deliverable).toBe(0x45);
  expect(apic.accept(0x45, 0)).toBe('IPI');
  expect(apic.read(ISR + 2, 0)).toBe(1n << 5n);
  expect(apic.read(PPR, 0)).toBe(0x40n);
  expect(apic.deliverable).toBeUndefined();
  expect(apic.waitsForCr8).toBe(false);
  put(EOI, 0n);
  expect(apic.read(ISR + 2, 0)).toBe(0n);
  expect(apic.deliverable).toBe(0x31);
});

test('a vector of the class in service waits, though it is higher', () => {
  const { apic, put } = start();
  put(SELF_IPI, 0x41n);
  apic.accept(0x41, 0);
  put(SELF_IPI, 0x4fn);

  expect(apic.deliverable).toBeUndefined();
});

test('the task priority masks its class and those below; CR8 is its upper half', () => {
  const { apic, processor, put } = start();
  put(TPR, 0x3fn);
  put(SELF_IPI, 0x3fn);

  expect(processor.cr8).toBe(3);
  expect(apic.deliverable).toBeUndefined();
  expect(apic.waitsForCr8).toBe(true);
  processor.cr8 = 2;
  expect(apic.read(TPR, 0)).toBe(0x20n);
  expect(apic.deliverable).toBe(0x3f);
});

test('nothing is delivered while software has the APIC off, and its LVT is masked', () => {
  const { apic, put } = start();
  put(LVT_TIMER, 0x41n);
  put(SVR, 0xffn);
  put(SELF_IPI, 0x31n);

  expect(apic.deliverable).toBeUndefined();
  put(LVT_TIMER, 0x41n);
  expect(apic.read(LVT_TIMER, 0)).toBe(0x41n | MASKED);
  put(SVR, 0x1ffn);
  expect(apic.deliverable).toBe(0x31);
});

test('a vector below 16 is an error, which a write to ESR shows', () => {
  const { apic, put } = start();
  put(LVT_ERROR, 0x50n);
  put(LVT_TIMER, 5n);
  put(INITIAL_COUNT, 1n);
  apic.fire(1000);

  expect(apic.deliverable).toBe(0x50);
  expect(apic.read(ESR, 0)).toBe(0n);
  put(ESR, 0n);
  expect(apic.read(ESR, 0)).toBe(0x40n);
});

test('an x2APIC has destinations of 32 bits, physical and by cluster', () => {
  const { apic, sent, put } = start(18);
  put(ICR, (18n << 32n) | 0x31n);
  put(ICR, (0x1_0004n << 32n) | (1n << 11n) | 0x31n);
  put(ICR, (0xffff_ffffn << 32n) | 0x31n);
  put(ICR, (2n << 32n) | 0x31n);

  expect(sent.map((ipi) => apic.matches(ipi))).toEqual([true, true, true, false]);
});

test('IA32_APIC_BASE goes only where the SDM lets it', () => {
  const { apic, processor } = start();

  expect(apic.setBase(ENABLED)).toBe(false);
  expect(apic.setBase(X2 | 1n)).toBe(false);
  expect(apic.setBase(0xfee0_0500n)).toBe(false);
  expect(apic.setBase(0xfee0_0100n)).toBe(true);
  expect(apic.setBase(X2)).toBe(false);
  expect(apic.setBase(ENABLED)).toBe(true);
  expect(apic.read(SVR, 0)).toBe(0xffn);
  expect(apic.setBase(X2)).toBe(true);
  expect(processor.base).toBe(X2);
});

test('what is saved comes back', () => {
  const { apic, put } = start();
  put(LVT_TIMER, 0x41n | PERIODIC);
  put(INITIAL_COUNT, 100n, 5);
  put(SELF_IPI, 0x31n);
  const saved = JSON.parse(JSON.stringify(apic.save()));
  const other = start().apic;
  other.restore(saved);

  expect(other.save()).toEqual(apic.save());
  expect(other.nextNs).toBe(apic.nextNs);
  expect(other.accept(0x31, 6)).toBe('IPI');
});
