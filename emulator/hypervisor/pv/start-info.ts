/**
 * The page that a PV kernel finds by RSI when it starts. Source: Xen public/xen.h, struct
 * start_info.
 */
import { writeNumber } from '../hypercalls/hypercall.ts';

export interface StartInfo {
  readonly pages: number;
  readonly sharedInfo: number;
  readonly flags: number;
  readonly storeMfn: number;
  readonly storePort: number;
  readonly consoleMfn: number;
  readonly consolePort: number;
  readonly tables: bigint;
  readonly tableCount: number;
  readonly p2m: bigint;
  /** Linear address, or the frame if SIF_MOD_START_PFN is set. */
  readonly module: bigint;
  readonly moduleBytes: number;
  readonly commandLine: string;
  readonly firstP2mPfn: number;
  readonly p2mFrames: number;
}

export const SIF_MOD_START_PFN = 8;
export const SIF_VIRT_P2M_4TOOLS = 16;

const MAGIC = 'xen-3.0-x86_64';
const COMMAND_LINE = 0x80;
export const COMMAND_LINE_BYTES = 1024;

export const writeStartInfo = (info: StartInfo): Uint8Array => {
  const page = new Uint8Array(4096);
  const put = (offset: number, bytes: number, value: number | bigint): void =>
    writeNumber(page, offset, bytes, BigInt(value));
  const text = (at: number, value: string): void =>
    page.set(
      [...value].map((char) => char.charCodeAt(0) & 0xff),
      at,
    );
  text(0, MAGIC);
  put(0x20, 8, info.pages);
  put(0x28, 8, info.sharedInfo);
  put(0x30, 4, info.flags);
  put(0x38, 8, info.storeMfn);
  put(0x40, 4, info.storePort);
  put(0x48, 8, info.consoleMfn);
  put(0x50, 4, info.consolePort);
  put(0x58, 8, info.tables);
  put(0x60, 8, info.tableCount);
  put(0x68, 8, info.p2m);
  put(0x70, 8, info.module);
  put(0x78, 8, info.moduleBytes);
  text(COMMAND_LINE, info.commandLine.slice(0, COMMAND_LINE_BYTES - 1));
  put(0x480, 8, info.firstP2mPfn);
  put(0x488, 8, info.p2mFrames);
  return page;
};
