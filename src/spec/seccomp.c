/* SPDX-License-Identifier: Apache-2.0 */
/* config-linux.md, "Seccomp": which system calls are answered how. */
#include <stddef.h>
#include <string.h>

#include "spec/parts.h"
#include "spec/runtime.h"

const char *const spec_seccomp_actions[] = {
	"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO",  "SCMP_ACT_KILL",  "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
	"SCMP_ACT_LOG",	  "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",		NULL,
};
const char *const spec_seccomp_operators[] = {
	"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",	    "SCMP_CMP_LE",
	"SCMP_CMP_LT", "SCMP_CMP_NE", "SCMP_CMP_MASKED_EQ", NULL,
};
const char *const spec_seccomp_architectures[] = {
	"SCMP_ARCH_AARCH64",	 "SCMP_ARCH_ARM",	"SCMP_ARCH_M68K",     "SCMP_ARCH_MIPS",
	"SCMP_ARCH_MIPS64",	 "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL",   "SCMP_ARCH_MIPSEL64",
	"SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC",	"SCMP_ARCH_PARISC64", "SCMP_ARCH_PPC",
	"SCMP_ARCH_PPC64",	 "SCMP_ARCH_PPC64LE",	"SCMP_ARCH_RISCV64",  "SCMP_ARCH_S390",
	"SCMP_ARCH_S390X",

	"SCMP_ARCH_X32",	 "SCMP_ARCH_X86",	"SCMP_ARCH_X86_64",   NULL,
};
const char *const spec_seccomp_flags[] = {
	"SECCOMP_FILTER_FLAG_TSYNC",
	"SECCOMP_FILTER_FLAG_LOG",
	"SECCOMP_FILTER_FLAG_SPEC_ALLOW",
	"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
	NULL,
};

static const struct spec_words action_words = { "string ", " is not a valid action for seccomp", spec_seccomp_actions };
static const struct spec_words operator_words = { "string ", " is not a valid operator for seccomp",
						  spec_seccomp_operators };
static const struct spec_words architecture_words = { "string ", " is not a valid arch for seccomp",
						      spec_seccomp_architectures };
static const struct spec_words flag_words = { "seccomp flag \"", "\" is not known", spec_seccomp_flags };

static const struct spec_range argument_range = { 0, 5 }; /* a system call has six */

static const struct spec_field argument_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_seccomp_arg, index, "index", spec_read_u32, &argument_range),
	SPEC_REQUIRED(struct oci_seccomp_arg, value, "value", spec_read_u64),
	SPEC_FIELD(struct oci_seccomp_arg, value_two, "valueTwo", spec_read_u64),
	SPEC_REQUIRED_HOW(struct oci_seccomp_arg, op, "op", spec_read_known_word, &operator_words),
};
static const struct spec_object argument = { argument_fields, SPEC_COUNT(argument_fields), false, NULL };
static const struct spec_list argument_list = {
	.size = sizeof(struct oci_seccomp_arg),
	.read = spec_read_object,
	.how = &argument,
};

/* The kernel has 16 bits for it, and cuts what is no errno (MAX_ERRNO) down to one. */
static int check_errno(struct reader *reader, const char *name, const char *action, const struct oci_u64 *errno_ret)
{
	uint64_t high;

	if (!errno_ret->set)
		return 0;
	if (strcmp(action, "SCMP_ACT_ERRNO") == 0)
		high = 4095;
	else if (strcmp(action, "SCMP_ACT_TRACE") == 0)
		high = UINT16_MAX;
	else
		return spec_fail_at(reader, name, "action %s takes no errno", action);
	if (errno_ret->value > high)
		return spec_fail_at(reader, name, "%ju is out of range (0 to %ju)", (uintmax_t)errno_ret->value,
				    (uintmax_t)high);
	return 0;
}

static int check_rule(struct reader *reader, void *target)
{
	const struct oci_seccomp_rule *rule = target;

	if (rule->names.count == 0)
		return spec_fail_at(reader, "names", "must contain at least one entry");
	return check_errno(reader, "errnoRet", rule->action, &rule->errno_ret);
}

static const struct spec_field rule_fields[] = {
	SPEC_REQUIRED(struct oci_seccomp_rule, names, "names", spec_read_strings),
	SPEC_REQUIRED_HOW(struct oci_seccomp_rule, action, "action", spec_read_known_word, &action_words),
	SPEC_FIELD_HOW(struct oci_seccomp_rule, errno_ret, "errnoRet", spec_read_opt_u64, &spec_range_u32),
	SPEC_FIELD_HOW(struct oci_seccomp_rule, args_count, "args", spec_read_list, &argument_list),
};
static const struct spec_object rule = { rule_fields, SPEC_COUNT(rule_fields), false, check_rule };
static const struct spec_list rule_list = {
	.size = sizeof(struct oci_seccomp_rule),
	.read = spec_read_object,
	.how = &rule,
};

/* A listener cannot answer its own answers: a filter that notifies of every call, or of write(2), blocks at once. */
static int check_seccomp(struct reader *reader, void *target)
{
	const struct oci_seccomp *seccomp = target;

	if (strcmp(seccomp->default_action, "SCMP_ACT_NOTIFY") == 0)
		return spec_fail_at(reader, "defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action");
	for (size_t i = 0; i < seccomp->syscalls_count; i++) {
		if (strcmp(seccomp->syscalls[i].action, "SCMP_ACT_NOTIFY") != 0)
			continue;
		for (size_t j = 0; j < seccomp->syscalls[i].names.count; j++)
			if (strcmp(seccomp->syscalls[i].names.items[j], "write") == 0)
				return spec_fail_at(reader, "syscalls",
						    "SCMP_ACT_NOTIFY cannot be used for the write syscall");
	}
	if (seccomp->listener_metadata && !seccomp->listener_path)
		return spec_fail_at(reader, "listenerMetadata", "is set, but listenerPath is not");
	return check_errno(reader, "defaultErrnoRet", seccomp->default_action, &seccomp->default_errno_ret);
}

static const struct spec_field seccomp_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_seccomp, default_action, "defaultAction", spec_read_known_word, &action_words),
	SPEC_FIELD_HOW(struct oci_seccomp, default_errno_ret, "defaultErrnoRet", spec_read_opt_u64, &spec_range_u32),
	SPEC_FIELD_HOW(struct oci_seccomp, architectures, "architectures", spec_read_strings, &architecture_words),
	SPEC_FIELD_HOW(struct oci_seccomp, flags, "flags", spec_read_strings, &flag_words),
	SPEC_FIELD(struct oci_seccomp, listener_path, "listenerPath", spec_read_text_or_null),
	SPEC_FIELD(struct oci_seccomp, listener_metadata, "listenerMetadata", spec_read_text_or_null),
	SPEC_FIELD_HOW(struct oci_seccomp, syscalls_count, "syscalls", spec_read_list, &rule_list),
};
static const struct spec_object seccomp_object = { seccomp_fields, SPEC_COUNT(seccomp_fields), true, check_seccomp };

int spec_read_seccomp(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	cleanup_str struct str canonical = STR_INIT;
	struct oci_seccomp *seccomp = target;
	int ret = spec_read_object(reader, value, target, &seccomp_object);

	(void)how;
	if (ret < 0)
		return ret;
	json_append_canonical(&canonical, value);
	seccomp->canonical = str_failed(&canonical) ? NULL : arena_strdup(reader->arena, canonical.text);
	return seccomp->canonical ? 0 : spec_no_memory(reader);
}
