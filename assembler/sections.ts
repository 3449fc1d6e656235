/** Sections while they grow, and what has to be written into them once addresses are known. */
import type { SegmentKey } from './expressions.ts';
import type { Token } from './lexer.ts';

export interface Fixup {
  readonly offset: number;
  readonly bytes: number;
  readonly number: bigint;
  readonly segment: Section | SectionStart | undefined;
  /** Counts from this offset of the section: the end of the instruction. */
  readonly relativeTo: number | undefined;
  readonly signed: boolean;
  readonly tokens: readonly Token[];
}

export interface SectionAttributes {
  align: number;
  /** The source says an alignment, which then counts instead of the section's usual one. */
  isAligned?: boolean;
  start?: number;
  vstart?: number;
  valign?: number;
  follows?: string;
  vfollows?: string;
  nobits: boolean;
  alloc: boolean;
  write: boolean;
  exec: boolean;
  note: boolean;
  tls: boolean;
}

/** Where a section of a flat image is loaded, which need not be where it runs. */
export class SectionStart implements SegmentKey {
  readonly name: string;
  address = 0n;

  constructor(name: string) {
    this.name = name;
  }
}

/** A section. `size` is its length in this pass; the bytes are there in the last pass only. */
export class Section implements SegmentKey {
  readonly name: string;
  readonly attributes: SectionAttributes;
  size = 0;
  fixups: Fixup[] = [];
  /** Where it runs. */
  address = 0n;
  /** Where it is loaded, in a flat image. */
  readonly start: SectionStart;
  fileOffset = 0;
  private buffer = new Uint8Array(256);

  constructor(name: string, attributes: SectionAttributes) {
    this.name = name;
    this.attributes = attributes;
    this.start = new SectionStart(name);
  }

  /** Starts a new pass. */
  reset(): void {
    this.size = 0;
    this.fixups = [];
    this.buffer.fill(0);
  }

  /** Places bytes at the end of the section's contents, at an offset already counted. */
  write(offset: number, bytes: ArrayLike<number>): void {
    const end = offset + bytes.length;
    if (end > this.buffer.length) {
      const grown = new Uint8Array(Math.max(end, this.buffer.length * 2));
      grown.set(this.buffer);
      this.buffer = grown;
    }
    this.buffer.set(bytes, offset);
  }

  contents(): Uint8Array {
    if (this.buffer.length < this.size) this.write(this.size - 1, [0]);
    return this.buffer.subarray(0, this.size);
  }
}

/** A section's default attributes by its name, as NASM's ELF output knows them. */
export function defaultAttributes(name: string, format: 'bin' | 'elf64'): SectionAttributes {
  const plain: SectionAttributes = {
    align: format === 'bin' ? (name === '.text' ? 1 : 4) : 1,
    nobits: name === '.bss' || (format === 'elf64' && (name === '.lbss' || name === '.tbss')),
    alloc: true,
    write: false,
    exec: false,
    note: false,
    tls: false,
  };
  if (format === 'bin') return plain;
  switch (name) {
    case '.text':
      return { ...plain, exec: true, align: 16 };
    case '.data':
    case '.bss':
    case '.ldata':
    case '.lbss':
      return { ...plain, write: true, align: 4 };
    case '.tdata':
    case '.tbss':
      return { ...plain, write: true, align: 4, tls: true };
    case '.rodata':
    case '.lrodata':
      return { ...plain, align: 4 };
    case '.comment':
      return { ...plain, alloc: false };
    case '.note':
      return { ...plain, alloc: false, note: true, align: 4 };
    default:
      return plain;
  }
}
