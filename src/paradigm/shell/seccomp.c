/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/shell/seccomp.h"

#include <ctype.h>
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "linux/fdpass.h"
#include "linux/seccomp.h"
#include "paradigm/shell/seccomp_private.h"

/* libseccomp's binary tree pays off from here on; with no rule at all 2.5 makes a wrong one. */
enum { OPTIMIZE_FROM_RULES = 33, ARGUMENTS_MAX = 6 };

static const struct {
	const char *name;
	uint32_t action;
	bool takes_errno;
} actions[] = {
	{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false },
	{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true },
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false },
	{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false },
	{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false },
	{ "SCMP_ACT_LOG", SCMP_ACT_LOG, false },
	{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY, false },
	{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true },
	{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP, false },
};

static const struct {
	const char *name;
	enum scmp_compare compare;
} operators[] = {
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ }, { "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_LE", SCMP_CMP_LE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
	{ "SCMP_CMP_NE", SCMP_CMP_NE },
};

static const struct {
	const char *name;
	unsigned int flag;
} flag_names[] = {
	/* A process that is about to execve(2) has one thread: there is nothing to synchronize. */
	{ "SECCOMP_FILTER_FLAG_TSYNC", 0 },
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void release_context(scmp_filter_ctx *context)
{
	if (*context)
		seccomp_release(*context);
}

static int find_action(const char *name, const struct oci_u64 *errno_ret, uint32_t *action, struct error *err)
{
	for (size_t i = 0; i < COUNT(actions); i++) {
		if (strcmp(actions[i].name, name) != 0)
			continue;
		*action = actions[i].action;
		if (actions[i].takes_errno)
			*action |= errno_ret->set ? errno_ret->value & SECCOMP_RET_DATA : EPERM;
		return 0;
	}
	return error_set(err, EINVAL, "seccomp: unknown action %s", name);
}

static int find_operator(const char *name, enum scmp_compare *compare, struct error *err)
{
	for (size_t i = 0; i < COUNT(operators); i++) {
		if (strcmp(operators[i].name, name) == 0) {
			*compare = operators[i].compare;
			return 0;
		}
	}
	return error_set(err, EINVAL, "seccomp: unknown operator %s", name);
}

uint32_t seccomp_architecture(const char *name)
{
	static const char prefix[] = "SCMP_ARCH_";
	char lower[24];
	size_t i;

	if (!str_starts(name, prefix) || strlen(name) - strlen(prefix) >= sizeof(lower))
		return 0;
	name += strlen(prefix);
	for (i = 0; name[i]; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	lower[i] = '\0';
	return seccomp_arch_resolve_name(lower);
}

static int add_architectures(scmp_filter_ctx context, const struct oci_strings *architectures, struct error *err)
{
	for (size_t i = 0; i < architectures->count; i++) {
		uint32_t architecture = seccomp_architecture(architectures->items[i]);
		int ret;

		if (architecture == 0)
			return error_set(err, EINVAL, "seccomp: libseccomp does not know the architecture %s",
					 architectures->items[i]);
		ret = seccomp_arch_add(context, architecture);
		if (ret < 0 && ret != -EEXIST)
			return error_errno(err, -ret, "seccomp: cannot add the architecture %s",
					   architectures->items[i]);
	}
	return 0;
}

static int add_rule(scmp_filter_ctx context, uint32_t action, const char *name, int number,
		    const struct scmp_arg_cmp *arguments, size_t count, struct error *err)
{
	int ret = seccomp_rule_add_array(context, action, number, (unsigned int)count, arguments);

	return ret < 0 ? error_errno(err, -ret, "seccomp: cannot add a rule for %s", name) : 0;
}

/*
 * Conditions of one rule must all hold; but where two of them look at the same argument, libseccomp 2.4 and later
 * refuse the rule, and what runc made of such rules before is kept: each condition is then a rule of its own.
 */
static int add_call(scmp_filter_ctx context, uint32_t action, const char *name, const struct oci_seccomp_rule *rule,
		    struct error *err)
{
	struct scmp_arg_cmp conditions[ARGUMENTS_MAX * 2];
	unsigned int seen = 0;
	bool alternatives = false;
	int number = seccomp_syscall_resolve_name(name), ret = 0;

	/* A profile is written for all kernels and architectures. */
	if (number == __NR_SCMP_ERROR || number == __NR_SCMP_UNDEF)
		return 0;
	if (rule->args_count > COUNT(conditions))
		return error_set(err, EINVAL, "seccomp: more than %zu conditions for %s", COUNT(conditions), name);
	for (size_t i = 0; i < rule->args_count; i++) {
		const struct oci_seccomp_arg *arg = rule->args + i;

		if (arg->index >= ARGUMENTS_MAX)
			return error_set(err, EINVAL, "seccomp: %s has no argument %u", name, arg->index);
		conditions[i] = (struct scmp_arg_cmp){ .arg = arg->index,
						       .datum_a = arg->value,
						       .datum_b = arg->value_two };
		ret = find_operator(arg->op, &conditions[i].op, err);
		if (ret < 0)
			return ret;
		alternatives |= seen & 1u << arg->index;
		seen |= 1u << arg->index;
	}
	if (!alternatives)
		return add_rule(context, action, name, number, conditions, rule->args_count, err);
	for (size_t i = 0; i < rule->args_count && ret == 0; i++)
		ret = add_rule(context, action, name, number, conditions + i, 1, err);
	return ret;
}

static bool notifies(const struct oci_seccomp *profile)
{
	for (size_t i = 0; i < profile->syscalls_count; i++) {
		if (strcmp(profile->syscalls[i].action, "SCMP_ACT_NOTIFY") == 0)
			return true;
	}
	return false;
}

static int find_flags(const struct oci_seccomp *profile, unsigned int *flags, struct error *err)
{
	/* Like runc: who says nothing about flags does not want the slow mitigation that the kernel would switch on. */
	*flags = profile->flags.items ? 0 : SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	for (size_t i = 0; i < profile->flags.count; i++) {
		size_t n = 0;

		while (n < COUNT(flag_names) && strcmp(flag_names[n].name, profile->flags.items[i]) != 0)
			n++;
		if (n == COUNT(flag_names))
			return error_set(err, EINVAL, "seccomp: unknown flag %s", profile->flags.items[i]);
		*flags |= flag_names[n].flag;
	}
	if (!notifies(profile))
		*flags &= ~(unsigned int)SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV; /* nobody waits */
	else
		*flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	if (*flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV && !seccomp_flags_available(*flags))
		return error_set(err, EOPNOTSUPP, "seccomp: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19");
	return 0;
}

static int add_rules(scmp_filter_ctx context, const struct oci_seccomp *profile, uint32_t default_action,
		     struct error *err)
{
	int ret = 0;

	for (size_t i = 0; i < profile->syscalls_count && ret == 0; i++) {
		const struct oci_seccomp_rule *rule = profile->syscalls + i;
		uint32_t action = SCMP_ACT_KILL_PROCESS;

		ret = find_action(rule->action, &rule->errno_ret, &action, err);
		if (ret < 0 || action == default_action) /* libseccomp refuses what changes nothing */
			continue;
		for (size_t n = 0; n < rule->names.count && ret == 0; n++)
			ret = add_call(context, action, rule->names.items[n], rule, err);
	}
	return ret;
}

static size_t count_calls(const struct oci_seccomp *profile)
{
	size_t count = 0;

	for (size_t i = 0; i < profile->syscalls_count; i++)
		count += profile->syscalls[i].names.count;
	return count;
}

/* libseccomp 2.5 gives the program to a descriptor only. */
static int export_program(scmp_filter_ctx context, const struct sock_filter *prologue, size_t prologue_count,
			  struct seccomp_filter *filter, struct error *err)
{
	cleanup_close int fd = memfd_create("seccomp", MFD_CLOEXEC);
	cleanup_free struct sock_filter *code = NULL;
	struct stat st;
	size_t count;
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "seccomp: cannot compile the profile");
	ret = seccomp_export_bpf(context, fd);
	if (ret < 0)
		return error_errno(err, -ret, "seccomp: cannot compile the profile");
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "seccomp: cannot compile the profile");
	count = prologue_count + (size_t)st.st_size / sizeof(*code);
	code = calloc(count, sizeof(*code));
	if (!code)
		return error_errno(err, ENOMEM, "seccomp");
	memcpy(code, prologue, prologue_count * sizeof(*code));
	if (pread(fd, code + prologue_count, (size_t)st.st_size, 0) != st.st_size)
		return error_errno(err, EIO, "seccomp: cannot compile the profile");
	if (!seccomp_code_is_sane(code, count))
		return error_set(err, EINVAL,
				 "seccomp: the profile becomes a program of %zu instructions, which the"
				 " kernel does not take",
				 count);
	filter->code = take_ptr(code);
	filter->count = count;
	return 0;
}

static int compile(const struct oci_seccomp *profile, struct seccomp_filter *filter, struct error *err)
{
	__attribute__((cleanup(release_context))) scmp_filter_ctx context = NULL;
	struct sock_filter prologue[SECCOMP_PROLOGUE_MAX];
	uint32_t default_action = SCMP_ACT_KILL_PROCESS;
	int ret = find_action(profile->default_action, &profile->default_errno_ret, &default_action, err);

	if (ret < 0)
		return ret;
	if (default_action == SCMP_ACT_NOTIFY) /* the process would stop for ever before its agent hears of it */
		return error_set(err, EINVAL, "SCMP_ACT_NOTIFY cannot be used as default action");
	context = seccomp_init(default_action);
	if (!context)
		return error_set(err, EOPNOTSUPP, "seccomp: this kernel or libseccomp cannot do %s as default action",
				 profile->default_action);
	if (count_calls(profile) >= OPTIMIZE_FROM_RULES)
		(void)seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* only slower without */
	ret = add_architectures(context, &profile->architectures, err);
	if (ret == 0)
		ret = add_rules(context, profile, default_action, err);
	return ret < 0 ? ret : export_program(context, prologue, seccomp_prologue(profile, prologue), filter, err);
}

int seccomp_compile_cached(const struct oci_seccomp *profile, int cache_fd, struct seccomp_filter *filter,
			   struct error *err)
{
	char key[SECCOMP_KEY_MAX];
	bool cached;
	int ret;

	*filter = (struct seccomp_filter){ .code = NULL };
	ret = find_flags(profile, &filter->flags, err);
	if (ret < 0)
		return ret;
	cached = cache_fd >= 0 && seccomp_cache_key(profile, key);
	if (cached && seccomp_cache_read(cache_fd, key, filter)) {
		filter->from_cache = true;
		return 0;
	}
	ret = compile(profile, filter, err);
	if (ret == 0 && cached)
		seccomp_cache_write(cache_fd, key, filter);
	return ret;
}

int seccomp_compile(const struct oci_seccomp *profile, struct seccomp_filter *filter, struct error *err)
{
	return seccomp_compile_cached(profile, -1, filter, err);
}

int seccomp_filter_load(const struct seccomp_filter *filter, struct error *err)
{
	return seccomp_install(filter->code, filter->count, filter->flags, err);
}

void seccomp_filter_free(struct seccomp_filter *filter)
{
	free(filter->code);
	filter->code = NULL;
	filter->count = 0;
}

int seccomp_listener_send(const char *path, int listener, pid_t pid, const char *metadata, const char *state_json,
			  struct error *err)
{
	cleanup_str struct str text = STR_INIT;
	cleanup_close int socket = fdpass_connect(path, err);
	int ret;

	if (socket < 0) {
		(void)error_wrap(err, "failed to connect with seccomp agent specified in the seccomp profile");
		return socket;
	}
	/* fds names what the descriptors of the message are, in order. */
	str_printf(&text, "{\"ociVersion\":\"%s\",\"fds\":[\"seccompFd\"],\"pid\":%d", OCI_VERSION, (int)pid);
	if (metadata) {
		str_append(&text, ",\"metadata\":");
		json_append_string(&text, metadata);
	}
	str_append(&text, ",\"state\":");
	str_append(&text, state_json);
	str_append(&text, "}");
	if (str_failed(&text))
		return error_errno(err, ENOMEM, "seccomp agent");
	ret = fdpass_send(socket, &listener, 1, text.text, text.length, err);
	if (ret < 0)
		(void)error_wrap(err, "cannot send to the seccomp agent at %s", path);
	return ret;
}
