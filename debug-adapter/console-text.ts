/**
 * Console output as text: the machine gives a character for each byte, guests mean UTF-8.
 */

/** A decoder for each domain: a character may come in two pieces. */
export const createConsoleDecoder = (): ((domain: number, text: string) => string) => {
  const decoders = new Map<number, TextDecoder>();
  return (domain, text) => {
    const decoder = decoders.get(domain) ?? new TextDecoder();
    decoders.set(domain, decoder);
    const bytes = Uint8Array.from(text, (sign) => sign.charCodeAt(0));
    return decoder.decode(bytes, { stream: true });
  };
};
