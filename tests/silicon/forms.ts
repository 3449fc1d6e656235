/**
 * The instruction forms that are compared with a processor: every form that iced-x86 encodes of
 * an instruction with a definition, but for those whose result depends on the operating system
 * (segment registers, descriptor tables, time) or on the vendor (near branches of 16 bits).
 */
import { type EncodingForm, formsOf, mnemonics } from '../../isa/encoding-forms.ts';
import { definitionOf, type Instruction } from '../../isa/index.ts';

export interface TestedForm {
  readonly mnemonic: string;
  readonly definition: Instruction;
  readonly form: EncodingForm;
}

const FAMILIES: readonly (readonly [RegExp, string])[] = [
  [/^j(?!mp|cxz|ecxz|rcxz)/, 'jcc'],
  [/^set(?!ssbsy)/, 'setcc'],
  [/^cmov/, 'cmovcc'],
];
const SIZED: Readonly<Record<string, string>> = {
  pushad: 'pusha',
  popad: 'popa',
  pushfd: 'pushf',
  pushfq: 'pushf',
  popfd: 'popf',
  popfq: 'popf',
};

const EXCLUDED =
  /^(int\d?|into|iret|retf|sys|vm|inv|rd|wr(?!msr)|monitor|mwait|xgetbv|rsm|getsec|fx|ver|lar|lsl|l[defgs]s$|ss?gdt|sidt|sldt|str$|smsw|ud0|reservednop|prefetchwt1|pause$|hlt$|cpuid$|xsetbv$|bound$)/;
const OPERAND_KINDS =
  /^(r(8|16|32|64)_(or_mem|reg|opcode|rm|vvvv)|mem|mem_offs|al|ax|eax|rax|cl|dx|imm.*|br.*_(1|2|4)|es_rDI|seg_rSI|seg_rBX_al|[cdefgs]s|seg_reg|cr_reg|dr_reg)$/;

/** The forms of a mode: 64-bit mode or 32-bit protected mode. */
export const testedForms = (bits: 32 | 64): readonly TestedForm[] => {
  const seen = new Set<string>();
  return mnemonics().flatMap((mnemonic) =>
    formsOf(mnemonic).flatMap((form) => {
      const family = FAMILIES.find(([pattern]) => pattern.test(mnemonic))?.[1];
      const definition = definitionOf(family ?? SIZED[mnemonic] ?? mnemonic);
      if (definition === undefined || seen.has(form.name) || !isTested(mnemonic, form, bits)) {
        return [];
      }
      seen.add(form.name);
      return [{ mnemonic, definition, form }];
    }),
  );
};

const isTested = (mnemonic: string, form: EncodingForm, bits: 32 | 64): boolean => {
  if (!form.modes[bits] || EXCLUDED.test(mnemonic) || form.encoding.length > 6) return false;
  if (!form.operands.every((kind) => OPERAND_KINDS.test(kind))) return false;
  const isBranch = form.operands.some((kind) => kind.startsWith('br'));
  const isNear = ['jmp', 'call', 'ret'].includes(mnemonic);
  if ((isBranch || isNear) && form.operandSize === 16) return false;
  if (isNear && form.operands[0] === 'mem') return false;
  if (mnemonic === 'pop' && /^(cs|ds|es|ss|fs|gs)$/.test(form.operands[0] ?? '')) return false;
  // At privilege level 3 they fault before they read their operand; here they read it first.
  if (/^(lldt|ltr|lmsw)$/.test(mnemonic)) return false;
  return !(mnemonic === 'mov' && form.operands[0] === 'seg_reg');
};
