/** A benchmark: something whose rate is measured in units per second of processor time. */
export interface Measurement {
  readonly units: number;
  readonly seconds: number;
}

export interface Benchmark {
  readonly name: string;
  /** What is counted: "instructions", "exits", "bytes". */
  readonly unit: string;
  /** The rate that is required, in units per second; or as a part of QEMU's. */
  readonly required: { readonly rate: number } | { readonly ofQemu: number };
  here(): Measurement | Promise<Measurement>;
  /** The same on QEMU; undefined if it is not installed or knows no such thing. */
  qemu?(): Promise<Measurement | undefined>;
}

/** Processor time of this thread and what it started, in seconds. */
export const processorSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
