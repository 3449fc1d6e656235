/**
 * `hyperstep dap`: the debug adapter for any client, on standard input and output, or on a TCP port
 * of this machine where each connection is a session.
 */
import { createServer } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { HyperstepSession } from '../session.ts';
import { nodeHost } from './node-host.ts';

/** Serves one client until its stream ends. The process goes on, for other clients. */
export const serveStream = (input: Readable, output: Writable, ended: () => void): void => {
  const session = new HyperstepSession(nodeHost);
  session.setRunAsServer(true);
  session.on('close', () => {
    session.end();
    ended();
  });
  session.on('error', () => session.end());
  session.start(input, output);
};

export const serveStandardStreams = (): void => {
  serveStream(process.stdin, process.stdout, () => process.exit(0));
};

/** `complain` gets the port that is served, or why none is. */
export const serveTcp = (port: number, complain: (line: string) => void): void => {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    serveStream(socket, socket, () => socket.destroy());
  });
  server.on('error', (error) => {
    complain(`hyperstep dap: port ${port} cannot be used: ${error.message}`);
    process.exitCode = 2;
  });
  server.listen(port, '127.0.0.1', () => {
    const address = server.address();
    const bound = typeof address === 'object' && address !== null ? address.port : port;
    complain(`hyperstep dap: listening on 127.0.0.1:${bound}`);
  });
};
