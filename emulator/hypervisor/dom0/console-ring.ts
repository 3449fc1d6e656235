/**
 * The ring of a paravirtual console: what the domain prints, and what is typed to it.
 * Source: Xen public/io/console.h, struct xencons_interface.
 */
import { putBytes, type Ring, readWord, type SharedPage, takeBytes } from '../shared-page.ts';

const INPUT: Ring = { offset: 0, lengthBytes: 1024, consumer: 0xc00, producer: 0xc04 };
const OUTPUT: Ring = { offset: 0x400, lengthBytes: 2048, consumer: 0xc08, producer: 0xc0c };

/** Takes what the domain has printed, one character a byte; indexes that make no sense give ''. */
export const takeOutput = (page: SharedPage): string => {
  let text = '';
  for (const byte of takeBytes(page, OUTPUT, OUTPUT.lengthBytes)) text += String.fromCharCode(byte);
  return text;
};

/** Hands typed bytes over; how many there was room for. */
export const putInput = (page: SharedPage, bytes: Uint8Array): number =>
  putBytes(page, INPUT, bytes);

/** Takes typed bytes back that the domain has not read, for a domain that reads by console_io. */
export const takeInput = (page: SharedPage, limit: number): Uint8Array =>
  takeBytes(page, INPUT, limit);

/** Whether the domain has ever used the ring. */
export const isUsed = (page: SharedPage): boolean =>
  [INPUT.consumer, OUTPUT.producer].some((index) => readWord(page, index) !== 0);
