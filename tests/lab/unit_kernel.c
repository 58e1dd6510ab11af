/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A multiboot kernel of the kind that tests monitors: it prints on the serial port, gets its arguments behind its own
 * name and an environment as its first module, counts what failed, and ends by the debug-exit port.
 * Built by unit-kernel.
 *
 * Arguments: cpus=N (processors that must come up), told=yes|no (of a hypervisor), fail (fails).
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum {
	COM1 = 0x3f8,
	DEBUG_EXIT = 0xf4,
	FW_CFG = 0x510,
	FW_CFG_CPUS = 5,
	CODE = 8,
	DATA = 16,
	TIMER_VECTOR = 0x40,
	PIT_VECTOR = 0x41,
	SPURIOUS_VECTOR = 0xff,
	APIC_BASE_MSR = 0x1b,
	KVM_CLOCK_MSR = 0x4b564d01,
	KVM_STEAL_TIME_MSR = 0x4b564d03,
	KVM_EOI_MSR = 0x4b564d04,
	KVM_FEATURES = 1 << 3 | 1 << 5 | 1 << 6, /* of these three */
	TRAMPOLINE = 0x8000,
	ONLINE = 0x9000, /* processors that were started count themselves here */
};

#define APIC   0xfee00000U
#define IOAPIC 0xfec00000U

struct multiboot_info {
	u32 flags, memory_lower, memory_upper, boot_device, command_line, modules_count, modules;
};

void main(u32 magic, const struct multiboot_info *info);

__asm__(".section .text.start, \"ax\"\n"
	".align 4\n"
	".long 0x1badb002, 0, -0x1badb002\n"
	".globl _start\n"
	"_start: lgdt gdt_pointer\n"
	"	ljmp $8, $1f\n"
	"1:	movw $16, %cx\n"
	"	movw %cx, %ds\n"
	"	movw %cx, %es\n"
	"	movw %cx, %ss\n"
	"	movl $stack_end, %esp\n"
	"	pushl %ebx\n"
	"	pushl %eax\n"
	"	call main\n"
	".align 8\n"
	"gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
	"gdt_pointer: .word 23\n"
	"	.long gdt\n"
	".bss\n"
	".lcomm stack, 16384\n"
	".set stack_end, stack + 16384\n"
	".text\n");

static unsigned failed;

static void out8(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static u8 in8(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static volatile u32 *at(u32 address)
{
	return (volatile u32 *)address;
}

static u64 read_msr(u32 msr)
{
	u64 value;

	__asm__ volatile("rdmsr" : "=A"(value) : "c"(msr));
	return value;
}

static void write_msr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "A"(value), "c"(msr));
}

static u64 ticks(void)
{
	u64 value;

	__asm__ volatile("rdtsc" : "=A"(value));
	return value;
}

static void print(const char *text)
{
	for (; *text; text++) {
		while (!(in8(COM1 + 5) & 0x20))
			;
		out8(COM1, (u8)*text);
	}
}

static void report(const char *name, int passed)
{
	print(passed ? "PASS: " : "FAIL: ");
	print(name);
	print("\n");
	failed += !passed;
}

/* What stands behind name in text, or a null pointer. */
static const char *find(const char *text, const char *name)
{
	for (; *text; text++) {
		unsigned i = 0;

		while (name[i] && text[i] == name[i])
			i++;
		if (!name[i])
			return text + i;
	}
	return 0;
}

/* ---- interrupts ---- */

struct frame;
static volatile u32 timer_count, pit_count;
static u64 idt[256];

/* What KVM writes: Documentation/virt/kvm/x86/msr.rst. */
static volatile u32 kvm_clock[8] __attribute__((aligned(32)));	     /* version, -, time stamp (2), time (2), factor */
static volatile u32 kvm_steal_time[16] __attribute__((aligned(64))); /* time (2), version */
static volatile u32 kvm_eoi;					     /* bit 0: clearing it is enough */
static volatile u32 kvm_eoi_count;

static void __attribute__((interrupt)) on_timer(struct frame *frame)
{
	u8 told;

	(void)frame;
	timer_count++;
	/* In one instruction: with each exit KVM may change its mind. */
	__asm__ volatile("btrl $0, %0; setc %1" : "+m"(kvm_eoi), "=q"(told) : : "cc");
	if (told)
		kvm_eoi_count++;
	else
		*at(APIC + 0xb0) = 0;
}

static void __attribute__((interrupt)) on_pit(struct frame *frame)
{
	(void)frame;
	pit_count++;
	*at(APIC + 0xb0) = 0;
}

static void set_gate(unsigned vector, void (*handler)(struct frame *))
{
	u32 address = (u32)handler;

	idt[vector] = (address & 0xffff) | (u64)CODE << 16 | (u64)0x8e00 << 32 | (u64)(address >> 16) << 48;
}

static void set_up_interrupts(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (u32)idt };

	set_gate(TIMER_VECTOR, on_timer);
	set_gate(PIT_VECTOR, on_pit);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	/* Both PICs are masked. */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	*at(APIC + 0xf0) = 0x100 | SPURIOUS_VECTOR;
}

static int await(const volatile u32 *count, u32 wanted)
{
	__asm__ volatile("sti");
	for (u32 i = 0; i < 20000000 && *count < wanted; i++)
		__asm__ volatile("pause" : : : "memory");
	__asm__ volatile("cli");
	return *count >= wanted;
}

/* ---- tests ---- */

static void test_processor(const char *arguments)
{
	u32 a = 1, b, c = 0, d, signature[3];
	u64 before = ticks(), base = read_msr(APIC_BASE_MSR);

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	report("cpuid: APIC, MSRs, TSC", (d & 1 << 9) && (d & 1 << 5) && (d & 1 << 4));
	if (find(arguments, "told=no"))
		report("cpuid: no hypervisor", !(c & 1U << 31));
	if (find(arguments, "told=yes")) {
		a = 0x40000000;
		__asm__ volatile("cpuid" : "+a"(a), "=b"(signature[0]), "=c"(signature[1]), "=d"(signature[2]));
		report("cpuid: KVM", (c & 1U << 31) && signature[0] == 0x4b4d564b);
	}
	report("msr: the APIC's base", (base & 0xfffff000) == APIC && (base & 0x900) == 0x900);
	write_msr(0xc0000080, read_msr(0xc0000080) | 1); /* EFER.SCE */
	report("msr: what is written is read", read_msr(0xc0000080) & 1);
	report("tsc: goes on", ticks() > before);
}

static void test_timers(void)
{
	report("apic: version and number", (*at(APIC + 0x30) & 0xf0) == 0x10 && *at(APIC + 0x20) >> 24 == 0);
	*at(APIC + 0x3e0) = 0xb; /* divided by 1 */
	*at(APIC + 0x320) = TIMER_VECTOR;
	*at(APIC + 0x380) = 1000;
	report("apic: the timer fires once", await(&timer_count, 1) && timer_count == 1);
	*at(IOAPIC) = 1;
	report("ioapic: 24 lines", (*at(IOAPIC + 16) >> 16 & 0xff) == 23);
	*at(IOAPIC) = 0x10 + 2 * 2 + 1;
	*at(IOAPIC + 16) = 0;
	*at(IOAPIC) = 0x10 + 2 * 2;
	*at(IOAPIC + 16) = PIT_VECTOR;
	out8(0x43, 0x34); /* counter 0, both bytes, rate generator */
	out8(0x40, 0xff);
	out8(0x40, 0x0f);
	report("pit: interrupts through line 2 of the ioapic", await(&pit_count, 3));
	*at(IOAPIC + 16) = 1 << 16;
}

/* KVM's own clock, the time that it took from us, and ends of interrupts that need no exit. */
static void test_kvm(void)
{
	u32 features = 0x40000001, timers = timer_count;

	__asm__ volatile("cpuid" : "+a"(features) : : "ebx", "ecx", "edx");
	report("kvm: clock, steal time, end of interrupt are there", (features & KVM_FEATURES) == KVM_FEATURES);
	if ((features & KVM_FEATURES) != KVM_FEATURES)
		return;
	write_msr(KVM_CLOCK_MSR, (u32)kvm_clock | 1);
	report("kvm: the clock is told", kvm_clock[0] && !(kvm_clock[0] & 1) && kvm_clock[6]);
	write_msr(KVM_STEAL_TIME_MSR, (u32)kvm_steal_time | 1);
	report("kvm: steal time is told", kvm_steal_time[2] && !(kvm_steal_time[2] & 1));
	write_msr(KVM_EOI_MSR, (u32)&kvm_eoi | 1);
	for (u32 i = 1; i <= 3; i++) {
		*at(APIC + 0x380) = 1000;
		await(&timer_count, timers + i);
	}
	report("kvm: interrupts end without an exit", timer_count == timers + 3 && kvm_eoi_count);
	write_msr(KVM_EOI_MSR, 0);
}

static u32 asked_processors(void)
{
	u32 count;

	__asm__ volatile("outw %0, %1" : : "a"((u16)FW_CFG_CPUS), "Nd"((u16)FW_CFG));
	count = in8(FW_CFG + 1);
	return count | (u32)in8(FW_CFG + 1) << 8;
}

static void test_processors(u32 wanted)
{
	/* xor ax, ax; mov ds, ax; lock inc word [ONLINE]; hlt; jmp back to it */
	static const u8 code[] = { 0x31, 0xc0, 0x8e, 0xd8, 0xf0, 0xff, 0x06, 0x00, 0x90, 0xf4, 0xeb, 0xfd };

	for (unsigned i = 0; i < sizeof(code); i++)
		((volatile u8 *)TRAMPOLINE)[i] = code[i];
	*at(ONLINE) = 1;
	*at(APIC + 0x300) = 0xc4500;			/* INIT to all others */
	*at(APIC + 0x300) = 0xc4600 | TRAMPOLINE >> 12; /* and where they start */
	report("fw_cfg: how many processors", asked_processors() == wanted);
	report("smp: all of them start", await(at(ONLINE), wanted) && *at(ONLINE) == wanted);
}

static void test_multiboot(u32 magic, const struct multiboot_info *info)
{
	const u32 *module = (const u32 *)info->modules;
	int found = 0;

	report("multiboot: magic, memory", magic == 0x2badb002 && (info->flags & 1) && info->memory_upper > 1024);
	if (info->flags & 8 && info->modules_count == 1)
		found = module[1] - module[0] == 10 && find((const char *)module[0], "NR_CPUS=1\n") != 0;
	report("multiboot: the environment is the first module", found);
	for (u32 address = 0xe0000; address < 0x100000; address += 16)
		if (*at(address) == 0x20445352 && *at(address + 4) == 0x20525450)
			return report("acpi: RSDP", 1);
	report("acpi: RSDP", 0);
}

void main(u32 magic, const struct multiboot_info *info)
{
	const char *arguments = (const char *)info->command_line, *cpus = find(arguments, " cpus=");

	print(arguments);
	print("\n");
	set_up_interrupts();
	test_multiboot(magic, info);
	test_processor(arguments);
	test_timers();
	if (find(arguments, "told=yes"))
		test_kvm();
	if (cpus)
		test_processors((u32)(*cpus - '0'));
	if (find(arguments, " fail"))
		report("what must fail", 0);
	for (;;)
		__asm__ volatile("outl %0, %1" : : "a"(failed), "Nd"((u16)DEBUG_EXIT));
}
