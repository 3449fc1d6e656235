/* A PVH guest in C, built by gcc for 32 or 64 bits: counts, prints through Xen, powers off. */

__asm__(".section .note.Xen,\"a\",@note\n"
        ".align 4\n"
        ".long 4, 4, 18\n"
        ".asciz \"Xen\"\n"
        ".long _start\n"
        ".bss\n"
        ".lcomm stack, 4096\n"
        ".text\n"
        ".code32\n"
        ".globl _start\n"
        "_start: mov $stack + 4096, %esp\n");

#ifdef __x86_64__
/* The first gigabyte at its own addresses, in large pages; long mode; code of 64 bits. */
__attribute__((aligned(4096))) unsigned long pml4[512], pdpt[512];
__asm__(".text\n"
        "movl $pdpt + 3, pml4\n"
        "movl $0x83, pdpt\n"
        "mov %cr4, %eax\n"
        "or $0x20, %eax\n"
        "mov %eax, %cr4\n"
        "mov $pml4, %eax\n"
        "mov %eax, %cr3\n"
        "mov $0xc0000080, %ecx\n"
        "rdmsr\n"
        "or $0x100, %eax\n"
        "wrmsr\n"
        "mov %cr0, %eax\n"
        "or $0x80000000, %eax\n"
        "mov %eax, %cr0\n"
        "lgdt gdt_pointer\n"
        "ljmp $8, $in_long_mode\n"
        ".align 8\n"
        "gdt: .quad 0, 0x00209a0000000000\n"
        "gdt_pointer: .word 15\n"
        ".long gdt\n"
        ".code64\n"
        "in_long_mode: call main\n");
#define FIRST "D"
#define SECOND "S"
#define THIRD "d"
#else
__asm__(".text\n"
        "call main\n");
#define FIRST "b"
#define SECOND "c"
#define THIRD "d"
#endif

static long hypercall(long number, long first, long second, void *third) {
  long result;
  __asm__ volatile("vmcall"
                   : "=a"(result)
                   : "a"(number), FIRST(first), SECOND(second), THIRD(third)
                   : "memory");
  return result;
}

static void print(char *text) {
  long length = 0;
  while (text[length] != 0) length++;
  hypercall(18, 0, length, text);
}

int fibonacci(int n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

char line[] = "fibonacci(10) is   \n";

void main(void) {
  int result = fibonacci(10);
  unsigned power_off = 0;
  line[17] = '0' + result / 10;
  line[18] = '0' + result % 10;
  print(line);
  hypercall(29, 2, (long)&power_off, 0);
}
