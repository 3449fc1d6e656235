/**
 * Grant table operations on a list of structures, each with a status of its own, and on one.
 * Source: Xen public/grant_table.h, HYPERVISOR_grant_table_op.
 */
import { GRANT_STATUS, type GrantStatus } from '../grants/status.ts';
import { copyFromGuest, copyToGuest } from '../hypervisor.ts';
import {
  defineHypercall,
  type Hypercall,
  type HypercallContext,
  type Layout,
  placeFields,
  readNumber,
  writeNumber,
} from './hypercall.ts';

type Fields<L extends Layout> = { -readonly [Name in keyof L]: bigint };

interface GrantOperation<L extends Layout> {
  readonly name: string;
  readonly command: number;
  readonly title: string;
  readonly only?: 'pv' | 'hvm';
  readonly argument: L;
  perform(context: HypercallContext, fields: Fields<L>): GrantStatus;
}

/** Structures after which a call comes back, to go on later. */
const AT_ONCE = 64;
const common = { number: 20, source: 'Xen public/grant_table.h' } as const;

/** A status as the signed 16-bit field has it. */
export const statusValue = (status: GrantStatus): bigint =>
  BigInt.asUintN(16, BigInt(GRANT_STATUS[status]));

/** The third argument, as the signed number that it is; undefined if it is negative. */
const countOf = ({ args }: HypercallContext): number | undefined => {
  const count = Number(BigInt.asIntN(32, args[2] ?? 0n));
  return count < 0 ? undefined : count;
};

/** An operation on `count` structures; a `status` field in each tells how it went. */
export const defineGrantOperation = <const L extends Layout>({
  perform,
  ...definition
}: GrantOperation<L>): Hypercall => ({
  ...common,
  ...definition,
  isList: true,
  handle(context) {
    const { hypervisor, vcpu, args, wordBytes } = context;
    const count = countOf(context);
    if (count === undefined) return 'EINVAL';
    const placed = placeFields(definition.argument, wordBytes);
    for (let index = 0; index < count; index += 1) {
      const address = (args[1] ?? 0n) + BigInt(index * placed.bytes);
      if (index === AT_ONCE) {
        return { continueWith: [args[0] ?? 0n, address, BigInt(count - index)] };
      }
      const bytes = copyFromGuest(hypervisor, vcpu, address, placed.bytes);
      if (bytes === undefined) return 'EFAULT';
      const fields: Record<string, bigint> = {};
      for (const field of placed.fields) {
        fields[field.name] = readNumber(bytes, field.offset, field.bytes);
      }
      fields.status = statusValue(perform(context, fields as Fields<L>));
      for (const field of placed.fields) {
        writeNumber(bytes, field.offset, field.bytes, fields[field.name] ?? 0n);
      }
      if (!copyToGuest(hypervisor, vcpu, address, bytes)) return 'EFAULT';
    }
    return 0;
  },
});

/** An operation on exactly one structure: another count is -EINVAL. */
export const defineSingleGrantOperation = <const L extends Layout>({
  perform,
  ...definition
}: GrantOperation<L>): Hypercall =>
  defineHypercall({
    ...common,
    ...definition,
    handle(context, fields) {
      if (countOf(context) !== 1) return 'EINVAL';
      Object.assign(fields, { status: statusValue(perform(context, fields as Fields<L>)) });
      return 0;
    },
  });
