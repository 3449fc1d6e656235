/**
 * The forms that handlers are made for, for each code size: keys (form-key.ts) with instructions
 * that stand for all of their form. What is not listed is executed by the precise engine. The first
 * ones are dispatched by a branch table, the others by an indirect call.
 */
import {
  type DecodedInstruction,
  definitionOf,
  type Form,
  type Instruction,
  type Operand,
  type Width,
} from '../../../isa/index.ts';

export interface HandlerForm {
  readonly key: string;
  readonly definition: Instruction;
  readonly form: Form;
  readonly operands: readonly Operand[];
  /** For each memory operand, by its index: 'b', 'x' or 's'. */
  readonly memoryKinds: readonly (string | undefined)[];
  /** An immediate operand that is known to be no multiple of the shift's width. */
  readonly count: Operand | undefined;
  /**
   * Leaves the flags as they are: a later instruction of the block overwrites them all, and nothing
   * between can fault or look at them.
   */
  readonly isQuiet: boolean;
}

/** The end of the key of a quiet form. */
export const QUIET = ':quiet';

/** The code sizes that handlers are made for. */
export type FastWidth = 32 | 64;

const widthsUpTo = (codeWidth: FastWidth): readonly Width[] =>
  codeWidth === 64 ? [8, 16, 32, 64] : [8, 16, 32];
const wideUpTo = (codeWidth: FastWidth): readonly Width[] => (codeWidth === 64 ? [32, 64] : [32]);
const CONDITIONS = Array.from({ length: 16 }, (_, condition) => condition);
const MEMORY = ['b', 'x', 's'];

type Shape = readonly string[];

const key = (mnemonic: string, width: number, operands: Shape, condition?: number): string =>
  `${mnemonic}:${width}:${condition ?? ''}:${operands.join(',')}`;

const places = (width: number): string[] => MEMORY.map((kind) => `${kind}${width}`);
const anywhere = (width: number): string[] => [`r${width}`, ...places(width)];

const binaryShapes = (width: Width): Shape[] => [
  [`r${width}`, `r${width}`],
  [`r${width}`, `i${width}`],
  ...places(width).flatMap((place) => [
    [`r${width}`, place],
    [place, `r${width}`],
    [place, `i${width}`],
  ]),
];

/** The commonest first. */
const hotKeys = (own: FastWidth, wide: readonly Width[]): readonly string[] => [
  ...['mov', 'add', 'sub', 'cmp', 'and', 'xor', 'test', 'or'].flatMap((mnemonic) =>
    wide.flatMap((width) => [
      key(mnemonic, width, [`r${width}`, `r${width}`]),
      key(mnemonic, width, [`r${width}`, `i${width}`]),
    ]),
  ),
  ...wide.flatMap((width) => [
    ...['b', 'x'].flatMap((kind) => [
      key('mov', width, [`r${width}`, `${kind}${width}`]),
      key('mov', width, [`${kind}${width}`, `r${width}`]),
      key('add', width, [`r${width}`, `${kind}${width}`]),
      key('cmp', width, [`r${width}`, `${kind}${width}`]),
    ]),
    key('mov', width, [`b${width}`, `i${width}`]),
    key('inc', width, [`r${width}`]),
    key('dec', width, [`r${width}`]),
    key('lea', width, [`r${width}`, 'b0']),
    key('lea', width, [`r${width}`, 'x0']),
    ...['shl', 'shr', 'sar', 'rol'].map((mnemonic) => key(mnemonic, width, [`r${width}`, 'n8'])),
    key('imul', width, [`r${width}`, `r${width}`]),
    key('imul', width, [`r${width}`, `r${width}`, `i${width}`]),
    key('adc', width, [`r${width}`, `i${width}`]),
    key('xchg', width, [`r${width}`, `r${width}`]),
    key('movzx', width, [`r${width}`, 'r8']),
    key('movzx', width, [`r${width}`, 'b8']),
    key('movzx', width, [`r${width}`, 'x8']),
  ]),
  key('mov', 8, ['b8', 'i8']),
  key('mov', 8, ['b8', 'r8']),
  key('mov', 8, ['r8', 'b8']),
  key('cmp', 8, ['b8', 'i8']),
  key('cmp', 8, ['x8', 'i8']),
  key('test', 8, ['r8', 'r8']),
  key('push', own, [`r${own}`]),
  key('pop', own, [`r${own}`]),
  key('call', own, ['t']),
  key('jmp', own, ['t']),
  key('jmp', own, [`r${own}`]),
  key('jmp', own, [`x${own}`]),
  key('ret', own, []),
  ...CONDITIONS.map((condition) => key('jcc', own, ['t'], condition)),
];

const ONLY_REGISTERS =
  /^(?:add|sub|adc|sbb|and|or|xor|imul|shl|shr|sar|rol|inc|dec):(?:32|64)::[rin\d,]+$/;
const OVERWRITES_FLAGS =
  /^(?:(?:add|sub|cmp|and|or|xor|test|neg|imul):\d+::[ri\d,]+|(?:shl|shr|sar|sal):\d+::r\d+,n8)$/;

/** Whether an instruction of this form cannot fault, reads no flags and writes all of them. */
export const overwritesFlags = (key: string): boolean => OVERWRITES_FLAGS.test(key);

const NEUTRAL = /^(?:mov:\d+::r\d+,[ri]\d+|movzx:\d+::r\d+,r\d+|lea:\d+::r\d+,[bx]0)$/;
/** Whether an instruction of this form cannot fault and has nothing to do with flags. */
export const ignoresFlags = (key: string): boolean => NEUTRAL.test(key);

const coldKeys = (
  own: FastWidth,
  widths: readonly Width[],
  wide: readonly Width[],
): readonly string[] => [
  'nop:32::',
  ...['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp', 'test', 'mov'].flatMap((mnemonic) =>
    widths.flatMap((width) => binaryShapes(width).map((shape) => key(mnemonic, width, shape))),
  ),
  ...['xchg', 'cmpxchg'].flatMap((mnemonic) =>
    widths.flatMap((width) =>
      anywhere(width).map((place) => key(mnemonic, width, [place, `r${width}`])),
    ),
  ),
  ...['inc', 'dec', 'neg', 'not', 'mul', 'imul', 'div', 'idiv'].flatMap((mnemonic) =>
    widths.flatMap((width) => anywhere(width).map((place) => key(mnemonic, width, [place]))),
  ),
  ...widths
    .slice(1)
    .flatMap((width) => [
      ...anywhere(width).flatMap((place) => [
        key('imul', width, [`r${width}`, place]),
        key('imul', width, [`r${width}`, place, `i${width}`]),
        ...CONDITIONS.map((condition) => key('cmovcc', width, [`r${width}`, place], condition)),
        ...['bsf', 'bsr', 'tzcnt', 'lzcnt', 'popcnt'].map((mnemonic) =>
          key(mnemonic, width, [`r${width}`, place]),
        ),
        ...['bt', 'bts', 'btr', 'btc'].flatMap((mnemonic) => [
          key(mnemonic, width, [place, 'i8']),
          key(mnemonic, width, [place, `r${width}`]),
        ]),
        ...['shld', 'shrd'].flatMap((mnemonic) => [
          key(mnemonic, width, [place, `r${width}`, 'i8']),
          key(mnemonic, width, [place, `r${width}`, 'r8']),
        ]),
      ]),
      ...['movzx', 'movsx'].flatMap((mnemonic) =>
        [8, 16].flatMap((from) =>
          anywhere(from).map((place) => key(mnemonic, width, [`r${width}`, place])),
        ),
      ),
      ...(own === 64
        ? anywhere(32).map((place) => key('movsxd', width, [`r${width}`, place]))
        : []),
      ...['b0', 'x0', 's0'].map((place) => key('lea', width, [`r${width}`, place])),
      key('bswap', width, [`r${width}`]),
      ...['cbw', 'cwde', 'cdqe', 'cwd', 'cdq', 'cqo'].map((mnemonic) => key(mnemonic, width, [])),
    ]),
  ...['shl', 'shr', 'sar', 'rol', 'ror', 'sal'].flatMap((mnemonic) =>
    widths.flatMap((width) =>
      anywhere(width).flatMap((place) => [
        key(mnemonic, width, [place, 'n8']),
        key(mnemonic, width, [place, 'i8']),
        key(mnemonic, width, [place, 'r8']),
      ]),
    ),
  ),
  ...CONDITIONS.flatMap((condition) =>
    anywhere(8).map((place) => key('setcc', 8, [place], condition)),
  ),
  ...anywhere(own).flatMap((place) => [
    key('push', own, [place]),
    key('pop', own, [place]),
    key('call', own, [place]),
    key('jmp', own, [place]),
  ]),
  ...['i8', 'i32', 'i64'].map((operand) => key('push', own, [operand])),
  key('ret', own, ['i16']),
  ...['leave', 'clc', 'stc', 'cmc', 'cld', 'std', 'lahf', 'sahf'].flatMap((mnemonic) =>
    wide.map((width) => key(mnemonic, width, [])),
  ),
  ...['loop', 'loope', 'loopne', own === 64 ? 'jrcxz' : 'jecxz'].map((mnemonic) =>
    key(mnemonic, own, ['t']),
  ),
  ...['movs', 'stos', 'lods', 'scas', 'cmps'].flatMap((mnemonic) =>
    (own === 64 ? ['b', 'w', 'd', 'q'] : ['b', 'w', 'd']).map(
      (suffix) => `${mnemonic}${suffix}:0::`,
    ),
  ),
];

const operandOf = (text: string): Operand => {
  const width = Number(text.slice(1)) as Width;
  switch (text[0]) {
    case 'r':
      return { kind: 'register', register: 0, high: false, width };
    case 'i':
    case 'n':
      return { kind: 'immediate', value: 0n, width };
    case 't':
      return { kind: 'target', displacement: 0n };
    default:
      return {
        kind: 'memory',
        segment: 3,
        base: 0,
        index: undefined,
        scale: 1,
        displacement: 0n,
        width,
      };
  }
};

const formOf = (text: string, codeWidth: FastWidth): HandlerForm | undefined => {
  const [mnemonic = '', width, condition, list = '', quiet] = text.split(':');
  const definition = definitionOf(mnemonic);
  if (definition === undefined) return undefined;
  const names = list === '' ? [] : list.split(',');
  const operands = names.map(operandOf);
  return {
    key: text,
    definition,
    operands,
    isQuiet: quiet !== undefined,
    count: operands[names.indexOf('n8')],
    memoryKinds: names.map((name) => (MEMORY.includes(name[0] ?? '') ? name[0] : undefined)),
    form: {
      width: (Number(width) || 64) as Width,
      addressWidth: codeWidth,
      stackWidth: codeWidth,
      codeWidth,
      condition: condition === '' ? undefined : Number(condition),
      repeat: undefined,
      lock: false,
    },
  };
};

/** All forms of a code size; the first `hot` of them are those of the branch table. */
export const handlerFormsOf = (
  codeWidth: FastWidth,
): { readonly forms: readonly HandlerForm[]; readonly hot: number } => {
  const wide = wideUpTo(codeWidth);
  const table = [...new Set(hotKeys(codeWidth, wide))].flatMap((one) =>
    ONLY_REGISTERS.test(one) ? [one, `${one}${QUIET}`] : [one],
  );
  const cold = coldKeys(codeWidth, widthsUpTo(codeWidth), wide);
  const forms = [...new Set([...table, ...cold])]
    .map((one) => formOf(one, codeWidth))
    .filter((form) => form !== undefined);
  return { forms, hot: table.length };
};

/** Whether an instruction ends a block: it jumps. */
export const endsBlock = ({ definition }: Pick<DecodedInstruction, 'definition'>): boolean =>
  definition?.endsBlock === true;
