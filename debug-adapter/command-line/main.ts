/**
 * The `hyperstep` command. A wrong option or file ends it with code 2.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { type AsmOptions, BAD_INPUT, runAsm } from './asm.ts';
import { type RunOptions, runProgram } from './run.ts';

/** A whole number above 0. */
const positive = (text: string): number => {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('A whole number above 0 was expected.');
};

/** An option that may be given again. */
const collect = (text: string, before: readonly string[] | undefined): string[] => [
  ...(before ?? []),
  text,
];

const program = new Command('hyperstep')
  .description('A guest-OS debugger on a simulated x86-64 machine and a Xen-like hypervisor.')
  .exitOverride();

program
  .command('run')
  .description('run a guest; its console is standard output, and the exit code tells how it ended')
  .argument('<program>', 'NASM source, ELF executable with a PVH note, or flat binary')
  .option('--break-on <kind[:filter]>', 'stop at the first such event; may be repeated', collect)
  .option('--trace <kind[:filter]>', 'print such events; may be repeated', collect)
  .option('--max-instructions <n>', 'end with code 5 after so many instructions', positive)
  .option('--json', 'print events, the console and the end as one JSON object a line')
  .option('-I, --include <folder...>', 'folders searched for included files')
  .option('-m, --memory <mebibytes>', "the domain's memory", positive, 64)
  .option('--cmdline <text>', 'command line of the guest')
  .addHelpText(
    'after',
    `
Events: vm-exit, hypercall, ept-violation, balloon, exception, event-channel, domain, ...
  --break-on vm-exit:cpuid   --trace hypercall:memory_op   --trace exception:14
Exit codes: 0 power-off, 2 bad program or option, 3 break, 4 crash or triple fault, 5 limit.`,
  )
  .exitOverride()
  .action((file: string, options: RunOptions) => {
    process.exitCode = runProgram(file, options, {
      write: (text) => process.stdout.write(text),
      complain: (line) => process.stderr.write(`${line}\n`),
    });
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
    process.exitCode = runAsm(file, options, (line) => process.stderr.write(`${line}\n`));
  });

try {
  program.parse();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : BAD_INPUT;
}
