/** The standard macro packages that `%use` offers, as NASM source. */

const GENERAL = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];

/** `altreg`: r0 to r7 in all sizes, and the low bytes by `l`. */
function alternateRegisters(): string[] {
  const lines = GENERAL.flatMap((name, number) => {
    const low = number < 4 ? `${name[0]}l` : `${name}l`;
    const high = number < 4 ? [`%idefine r${number}h ${name[0]}h`] : [];
    const own = { '': `r${name}`, d: `e${name}`, w: name, b: low, l: low };
    return [
      ...Object.entries(own).map(([size, register]) => `%idefine r${number}${size} ${register}`),
      ...high,
    ];
  });
  for (let number = 8; number < 16; number++) lines.push(`%idefine r${number}l r${number}b`);
  return lines;
}

const FLOATS = 'float8 float16 bfloat16 float32 float64 float80m float80e float128l float128h';

const floats = (): string[] => [
  '%define Inf __?Infinity?__',
  ...['NaN', 'QNaN', 'SNaN'].map(
    (name) => `%define ${name} __?${name === 'NaN' ? 'QNaN' : name}?__`,
  ),
  ...FLOATS.split(' ').map((name) => `%define ${name}(x) __?${name}?__(x)`),
  '%imacro bf16 1-*',
  '%rep %0',
  'dw __?bfloat16?__(%1)',
  '%rotate 1',
  '%endrep',
  '%endmacro',
];

/** By what each logarithm of the package rounds, or complains. */
const LOGARITHMS = { ilog2: 'e', ilog2e: 'e', ilog2w: 'w', ilog2fw: 'w', ilog2f: 'f', ilog2c: 'c' };

const logarithms = (): string[] => [
  ...Object.entries(LOGARITHMS).map(
    ([name, kind]) => `%idefine ${name}(x) (__?ilog2${kind}?__(x))`,
  ),
  '%idefine ilog2cw(x) (__?ilog2c?__(x))',
];

const PACKAGES: Readonly<Record<string, () => readonly string[]>> = {
  altreg: alternateRegisters,
  fp: floats,
  ifunc: logarithms,
  smartalign: () => [
    '%imacro alignmode 1-2',
    '[alignmode %1,%2]',
    '%endmacro',
    '[alignmode generic]',
  ],
};

export const packageNames = (): readonly string[] => Object.keys(PACKAGES);

/** The source of a package, or undefined if there is none of that name. */
export const packageSource = (name: string): readonly string[] | undefined =>
  Object.hasOwn(PACKAGES, name) ? PACKAGES[name]?.() : undefined;
