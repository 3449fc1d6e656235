/*
 * Runs single register instructions on the processor of this machine. Input: a stream of cases;
 * output: the same cases after execution. Registers are RAX RCX RDX RBX RSI RDI.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct test_case {
  uint64_t registers[6];
  uint64_t flags;
  uint8_t code[16];
};

static void run(struct test_case *c, void *page) {
  asm volatile(
      "subq $128, %%rsp\n\tpushq %%rbx\n\tpushq %%r15\n\tmovq %0, %%r15\n\tmovq %1, %%r14\n\t"
      "movq 0(%%r15), %%rax\n\tmovq 8(%%r15), %%rcx\n\tmovq 16(%%r15), %%rdx\n\t"
      "movq 24(%%r15), %%rbx\n\tmovq 32(%%r15), %%rsi\n\tmovq 40(%%r15), %%rdi\n\t"
      "pushq 48(%%r15)\n\tpopfq\n\tcallq *%%r14\n\tpushfq\n\tpopq 48(%%r15)\n\t"
      "movq %%rax, 0(%%r15)\n\tmovq %%rcx, 8(%%r15)\n\tmovq %%rdx, 16(%%r15)\n\t"
      "movq %%rbx, 24(%%r15)\n\tmovq %%rsi, 32(%%r15)\n\tmovq %%rdi, 40(%%r15)\n\t"
      "popq %%r15\n\tpopq %%rbx\n\taddq $128, %%rsp"
      : "+D"(c), "+S"(page)
      :
      : "rax", "rcx", "rdx", "r14", "cc", "memory");
}

int main(void) {
  uint8_t *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct test_case c;
  if (page == MAP_FAILED) return 1;
  while (fread(&c, sizeof c, 1, stdin) == 1) {
    memcpy(page, c.code, sizeof c.code);
    run(&c, page);
    if (fwrite(&c, sizeof c, 1, stdout) != 1) return 1;
  }
  return 0;
}
