/*
 * Runs single instructions on the processor of this machine, one trap flag a case: registers and
 * flags go into a signal frame with TF set, and the next signal's frame holds what became of them.
 * Input: the 12 KiB of memory, then cases; output: one result a case, with the bytes that changed.
 *
 *   0x10000  code, not writable here   0x20000  8 KiB data   0x22000  4 KiB read-only data
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE 0x10100
#define DATA ((uint8_t *)0x20000)
#define DATA_BYTES 0x2000
#define READ_ONLY_BYTES 0x1000
#define TRAP_FLAG 0x100
/* NT, AC and ID, which POPF may set and a signal keeps. */
#define KEPT_FLAGS 0x244000

struct test_case {
  uint64_t registers[16];
  uint64_t flags;
  uint8_t code[24];
  uint32_t selector;
  uint32_t repeats;
};

struct result {
  uint64_t registers[16];
  uint64_t flags, rip, trap, error, address, changes;
};

static struct test_case current;
static uint8_t initial[DATA_BYTES + READ_ONLY_BYTES], *code_alias;
static int started;
static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                              REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                              REG_R12, REG_R13, REG_R14, REG_R15};

static void put(const void *bytes, size_t count) {
  if (fwrite(bytes, count, 1, stdout) != 1) _exit(1);
}

static void report(greg_t *g, int signal) {
  struct result r;
  int stepped = signal == SIGTRAP && g[REG_TRAPNO] == 1;
  memset(&r, 0, sizeof r);
  for (int i = 0; i < 16; i++) r.registers[i] = g[order[i]];
  r.flags = g[REG_EFL];
  r.rip = g[REG_RIP];
  r.trap = stepped ? 0xff : g[REG_TRAPNO];
  r.error = stepped ? 0 : g[REG_ERR];
  r.address = r.trap == 14 ? g[REG_CR2] : 0;
  if (memcmp(DATA, initial, DATA_BYTES) != 0) {
    for (int i = 0; i < DATA_BYTES; i++) r.changes += DATA[i] != initial[i];
  }
  put(&r, sizeof r);
  for (int i = 0; r.changes != 0 && i < DATA_BYTES; i++) {
    if (DATA[i] == initial[i]) continue;
    uint16_t change[2] = {i, DATA[i]};
    put(change, sizeof change);
  }
  if (r.changes != 0) memcpy(DATA, initial, DATA_BYTES);
}

static void drop_flags(void) {
  asm volatile("subq $128, %%rsp\n\tpushfq\n\tandl %0, (%%rsp)\n\tpopfq\n\taddq $128, %%rsp"
               : : "i"(~KEPT_FLAGS) : "cc", "memory");
}

static void handle(int signal, siginfo_t *info, void *context) {
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  (void)info;
  drop_flags();
  if (started) {
    if (current.repeats && signal == SIGTRAP && g[REG_RIP] == CODE) return;
    report(g, signal);
  }
  started = 1;
  if (fread(&current, sizeof current, 1, stdin) != 1) {
    fflush(stdout);
    _exit(0);
  }
  memcpy(code_alias + (CODE & 0xfff), current.code, sizeof current.code);
  for (int i = 0; i < 16; i++) g[order[i]] = current.registers[i];
  g[REG_EFL] = current.flags | TRAP_FLAG;
  g[REG_RIP] = CODE;
  g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | current.selector;
}

static void *map(uintptr_t at, size_t bytes, int protection, int flags, int file) {
  void *page = mmap((void *)at, bytes, protection, flags, file, 0);
  if (page == MAP_FAILED) exit(2);
  return page;
}

int main(void) {
  static uint8_t stack[65536];
  stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
  struct sigaction action;
  int file = memfd_create("code", 0);
  if (file < 0 || ftruncate(file, 4096) != 0) return 2;
  map(CODE & ~0xfff, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file);
  code_alias = map(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file);
  map((uintptr_t)DATA, sizeof initial, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
  if (fread(initial, sizeof initial, 1, stdin) != 1) return 2;
  memcpy(DATA, initial, sizeof initial);
  mprotect(DATA + DATA_BYTES, READ_ONLY_BYTES, PROT_READ);
  syscall(SYS_arch_prctl, ARCH_SET_GS, (uintptr_t)DATA + 0x800);
  asm volatile("movl $0x2b, %%eax\n\tmovl %%eax, %%ds\n\tmovl %%eax, %%es" : : : "eax");
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaltstack(&alternative, 0);
  for (int i = 0; i < 5; i++) {
    static const int signals[5] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
    sigaction(signals[i], &action, 0);
  }
  raise(SIGTRAP);
  return 3;
}
