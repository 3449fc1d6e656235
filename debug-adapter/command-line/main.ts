/**
 * The `hyperstep` command. A wrong option or file ends it with code 2.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { type AsmOptions, BAD_INPUT, runAsm } from './asm.ts';
import { serveStandardStreams, serveTcp } from './dap.ts';
import { type DebugOptions, debugProgram } from './debug.ts';
import { eventHelp } from './event-help.ts';
import { type RunOptions, runProgram } from './run.ts';
import { typedInput } from './typed-input.ts';

/** The build writes it from package.json. */
declare const HYPERSTEP_VERSION: string;

/** A whole number above 0. */
const positive = (text: string): number => {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('A whole number above 0 was expected.');
};

const portNumber = (text: string): number => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= 65_535) return value;
  throw new InvalidArgumentError('A port from 0 to 65535 was expected.');
};

const complain = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** The command's result becomes the exit code; whatever is thrown is our own defect. */
const finishWith = (result: Promise<number>): void => {
  result.then(
    (code) => {
      process.exitCode = code;
    },
    (error: unknown) => {
      complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
      process.exitCode = 1;
    },
  );
};

/** An option that may be given again. */
const collect = (text: string, before: readonly string[] | undefined): string[] => [
  ...(before ?? []),
  text,
];

const domainType = (): Option =>
  new Option(
    '--type <type>',
    "how the domain is virtualized; default: by the program's notes",
  ).choices(['pv', 'pvh']);

const program = new Command('hyperstep')
  .description('A guest-OS debugger on a simulated x86-64 machine and a Xen-like hypervisor.')
  .version(HYPERSTEP_VERSION)
  .addHelpText(
    'after',
    `
Examples:
  hyperstep run samples/hello/main.asm --trace vm-exit
  hyperstep run samples/cpuid-exits/main.asm --break-on vm-exit:cpuid --json
  hyperstep debug samples/balloon/main.asm
  hyperstep asm samples/hello/main.asm -f elf -o hello.elf -l hello.lst
  hyperstep dap --port 4711

'hyperstep help run' tells of events and filters. Exit codes of all commands: 0 success, 2 a bad
program, file or option; of run also: 3 break, 4 crash or triple fault, 5 instruction limit.`,
  )
  .exitOverride();

program
  .command('run')
  .description('run a guest; its console is standard output, and the exit code tells how it ended')
  .argument('<program>', 'NASM source, ELF with a PVH note, flat binary, or scenario')
  .option('--break-on <kind[:filter]>', 'stop at the first such event; may be repeated', collect)
  .option('--trace <kind[:filter]>', 'print such events; may be repeated', collect)
  .option('--max-instructions <n>', 'end with code 5 after so many instructions', positive)
  .option('--json', 'print events, the console and the end as one JSON object a line')
  .option('-I, --include <folder...>', 'folders searched for included files')
  .option('-m, --memory <mebibytes>', "the domain's memory; default 64", positive)
  .option('--no-hap', 'shadow page tables in place of EPT')
  .option('--swap-file <file>', 'where pages go that are swapped out; else they stay in memory')
  .option('--cmdline <text>', 'command line of the guest')
  .addOption(domainType())
  .option('--vcpus <n>', "the domain's vCPUs; default 1", positive)
  .addOption(
    new Option('--engine <engine>', 'what executes the guest').choices([
      'interpreter',
      'reference',
    ]),
  )
  .option('--costs', 'print what each domain has cost in simulated cycles')
  .addHelpText(
    'after',
    `
Events, each with a filter as an example; without one all of the kind are meant:
${eventHelp()}
A traced hypercall is told when it has returned, with its result.

What comes on standard input is typed on the console of the first domain; on a terminal Ctrl+] ends it.

Exit codes: 0 power-off, 2 bad program or option, 3 break, 4 crash or triple fault, 5 limit.`,
  )
  .exitOverride()
  .action((file: string, options: RunOptions) => {
    finishWith(
      runProgram(
        file,
        options,
        { write: (text) => process.stdout.write(text), complain },
        typedInput(process.stdin),
      ),
    );
  });

program
  .command('asm')
  .description('assemble a program in NASM syntax')
  .argument('<file>', 'source')
  .addOption(
    new Option('-f, --format <format>', 'flat image or executable')
      .choices(['bin', 'elf'])
      .default('elf'),
  )
  .option('-o, --output <file>', "result; by default the source's name with the format's ending")
  .option('-I, --include <folder...>', 'folders searched for included files')
  .option('-l, --listing <file>', 'listing, laid out as by nasm')
  .exitOverride()
  .action((file: string, options: AsmOptions) => {
    finishWith(runAsm(file, options, complain));
  });

program
  .command('debug')
  .description('debug a guest in the terminal; "help" lists the commands')
  .argument('<program>', 'NASM source, ELF executable, flat binary or scenario')
  .option('-I, --include <folder...>', 'folders searched for included files')
  .option('-m, --memory <mebibytes>', "the domain's memory", positive)
  .option('--no-hap', 'shadow page tables in place of EPT')
  .option('--cmdline <text>', 'command line of the guest')
  .addOption(domainType())
  .exitOverride()
  .action((file: string, options: DebugOptions) => {
    finishWith(debugProgram(file, options, process.stdin, process.stdout));
  });

program
  .command('dap')
  .description('serve the Debug Adapter Protocol on standard input and output, or on a port')
  .option('--port <n>', 'a TCP port of 127.0.0.1; 0 takes a free one', portNumber)
  .exitOverride()
  .action(({ port }: { readonly port?: number }) => {
    if (port === undefined) serveStandardStreams();
    else serveTcp(port, complain);
  });

try {
  program.parse();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : BAD_INPUT;
}
