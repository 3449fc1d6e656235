/**
 * The `hyperstep` command. A wrong option or file ends it with code 2.
 */
import { Command, CommanderError, Option } from 'commander';
import { type AsmOptions, BAD_INPUT, runAsm } from './asm.ts';

const program = new Command('hyperstep')
  .description('A guest-OS debugger on a simulated x86-64 machine and a Xen-like hypervisor.')
  .exitOverride();

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
