/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile that allows what is listed answers everything else with EPERM, also what the profile's author could not
 * know: a C library that tries a newer system call first takes EPERM for a refusal, where ENOSYS would have made it try
 * the older one.  So, like runc, what is newer than everything that the profile names is answered with ENOSYS.  Numbers
 * stand for age, which is true enough.
 */
#include "paradigm/shell/seccomp_private.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define X32_BIT 0x40000000u

/* libseccomp's names of architectures are the kernel's AUDIT_ARCH_* values, but for x32. */
static uint32_t kernel_architecture(uint32_t architecture)
{
	return architecture == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : architecture;
}

/* The highest number that any rule names, whatever its action; 0 when there is none. */
static uint32_t last_call(const struct oci_seccomp *profile, uint32_t architecture)
{
	int last = 0;

	for (size_t i = 0; i < profile->syscalls_count; i++) {
		for (size_t n = 0; n < profile->syscalls[i].names.count; n++) {
			int number = seccomp_syscall_resolve_name_arch(architecture,
								       profile->syscalls[i].names.items[n]);

			if (number > last)
				last = number;
		}
	}
	return (uint32_t)last;
}

struct program {
	struct sock_filter *code;
	size_t count;
};

static void emit(struct program *program, uint16_t code, uint32_t k, uint8_t jump_true, uint8_t jump_false)
{
	program->code[program->count++] = (struct sock_filter){ code, jump_true, jump_false, k };
}

/* Fails what is above last and sends the rest to the end of the prologue: its place is known later. */
static void emit_limit(struct program *program, uint32_t last)
{
	if (last > 0) {
		emit(program, BPF_JMP | BPF_JGT | BPF_K, last, 0, 1);
		emit(program, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
	}
	emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
}

/* One architecture as the kernel tells them apart; second is the limit of x32, whose numbers have a bit of their own.
 */
static void emit_architecture(struct program *program, uint32_t architecture, uint32_t first, uint32_t second)
{
	size_t check = program->count, mode;

	emit(program, BPF_JMP | BPF_JEQ | BPF_K, kernel_architecture(architecture), 0, 0);
	emit(program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	/* setup(2), which nobody calls: numbers that do not fit into the instruction arrive as 0 when unknown. */
	if (architecture == SCMP_ARCH_S390 || architecture == SCMP_ARCH_S390X) {
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
		emit(program, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
	}
	if (kernel_architecture(architecture) == SCMP_ARCH_X86_64) {
		mode = program->count;
		emit(program, BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 0);
		emit_limit(program, first);
		program->code[mode].jt = (uint8_t)(program->count - mode - 1);
		emit_limit(program, second);
	} else {
		emit_limit(program, first);
	}
	program->code[check].jf = (uint8_t)(program->count - check - 1);
}

static bool needs_prologue(const struct oci_seccomp *profile)
{
	/* Actions that let the call happen, and a tracer that should know what it does. */
	static const char *const permissive[] = { "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE" };

	for (size_t i = 0; i < sizeof(permissive) / sizeof(*permissive); i++) {
		if (strcmp(profile->default_action, permissive[i]) == 0)
			return false;
	}
	return !(profile->default_errno_ret.set && profile->default_errno_ret.value == ENOSYS);
}

static bool already_listed(const struct oci_strings *architectures, size_t index)
{
	uint32_t architecture = seccomp_architecture(architectures->items[index]);

	for (size_t i = 0; i < index; i++) {
		if (kernel_architecture(seccomp_architecture(architectures->items[i])) ==
		    kernel_architecture(architecture))
			return true;
	}
	return false;
}

static bool lists(const struct oci_strings *architectures, uint32_t architecture)
{
	for (size_t i = 0; i < architectures->count; i++) {
		if (seccomp_architecture(architectures->items[i]) == architecture)
			return true;
	}
	return false;
}

size_t seccomp_prologue(const struct oci_seccomp *profile, struct sock_filter code[static SECCOMP_PROLOGUE_MAX])
{
	enum { LONGEST_ARCHITECTURE = 12 };
	const struct oci_strings *architectures = &profile->architectures;
	struct program program = { code, 0 };

	if (!needs_prologue(profile))
		return 0;
	emit(&program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	for (size_t i = 0; i < architectures->count && program.count + LONGEST_ARCHITECTURE < SECCOMP_PROLOGUE_MAX;
	     i++) {
		uint32_t architecture = seccomp_architecture(architectures->items[i]), first, second = 0;

		if (architecture == 0 || already_listed(architectures, i))
			continue;
		if (kernel_architecture(architecture) == SCMP_ARCH_X86_64) {
			architecture = SCMP_ARCH_X86_64;
			first = lists(architectures, SCMP_ARCH_X86_64) ? last_call(profile, SCMP_ARCH_X86_64) : 0;
			second = lists(architectures, SCMP_ARCH_X32) ? last_call(profile, SCMP_ARCH_X32) : 0;
		} else {
			first = last_call(profile, architecture);
		}
		if (first > 0 || second > 0)
			emit_architecture(&program, architecture, first, second);
	}
	if (program.count == 1) /* no architecture has a limit */
		return 0;
	for (size_t i = 0; i < program.count; i++) {
		if (code[i].code == (BPF_JMP | BPF_JA))
			code[i].k = (uint32_t)(program.count - i - 1);
	}
	return program.count;
}

bool seccomp_code_is_sane(const struct sock_filter *code, size_t count)
{
	if (count == 0 || count > BPF_MAXINSNS || BPF_CLASS(code[count - 1].code) != BPF_RET)
		return false;
	for (size_t i = 0; i < count; i++) {
		size_t room = count - i - 1; /* a jump of that many would leave the program */

		if (BPF_CLASS(code[i].code) != BPF_JMP)
			continue;
		if (BPF_OP(code[i].code) == BPF_JA ? code[i].k >= room : code[i].jt >= room || code[i].jf >= room)
			return false;
	}
	return true;
}
