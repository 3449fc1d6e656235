/** Languages in which NASM source comes, whichever extension claims the files. */
export const LANGUAGES = ['nasm', 'asm', 'asm-collection', 'asm-intel-x86-generic'] as const;
