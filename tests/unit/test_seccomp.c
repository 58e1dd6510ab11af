/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/clone.h"
#include "linux/fdpass.h"
#include "linux/process.h"
#include "linux/seccomp.h"
#include "paradigm/shell/seccomp.h"
#include "paradigm/shell/seccomp_private.h"

#define ARCHS	 "\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"]"
#define HARMLESS SYS_getpgid /* what rules are about: any argument will do */

static struct oci_spec spec_of(const char *seccomp)
{
	cleanup_str struct str text = STR_INIT;
	struct oci_spec spec;
	struct error err = ERROR_INIT;

	str_printf(&text, "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"seccomp\":%s}}", seccomp);
	if (oci_spec_parse(str_text(&text), text.length, &spec, &err) < 0)
		fail_msg("%s", err.text);
	return spec;
}

static struct seccomp_filter compiled(const char *seccomp)
{
	struct oci_spec spec = spec_of(seccomp);
	struct seccomp_filter filter;
	struct error err = ERROR_INIT;

	if (seccomp_compile(&spec.linux_.seccomp, &filter, &err) < 0)
		fail_msg("%s", err.text);
	oci_spec_free(&spec);
	return filter;
}

/* In a child under the filter: what does body() see?  Returns the status as wait(2) gives it. */
static int under(const char *seccomp, int (*body)(void))
{
	struct seccomp_filter filter = compiled(seccomp);
	struct clone_options options = CLONE_OPTIONS_INIT;
	cleanup_close int pidfd = -1;
	int status = -1;
	pid_t pid;

	options.flags = CLONE_CLEAR_SIGHAND; /* cmocka's are not for the child */
	options.pidfd = &pidfd;
	pid = clone_process(&options, NULL);
	if (pid == 0) {
		if (process_set_no_new_privileges(NULL) < 0 || seccomp_filter_load(&filter, NULL) < 0)
			_exit(200);
		/* Sanitizers do more at _exit() than a filter may allow. */
		(void)syscall(SYS_exit_group, body());
	}
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	seccomp_filter_free(&filter);
	return status;
}

/* The errno of the harmless call, 0 if it succeeded. */
static int harmless(void)
{
	return syscall(HARMLESS, 0) < 0 ? errno : 0;
}

static int result_of(const char *action)
{
	char profile[256];

	(void)snprintf(profile, sizeof(profile),
		       "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"getpgid\"],\"action\":%s}]}",
		       action);
	return under(profile, harmless);
}

static void assert_exit(int status, int code)
{
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), code);
}

static void assert_killed(int status)
{
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void test_actions(void **state)
{
	(void)state;
	assert_exit(result_of("\"SCMP_ACT_ERRNO\""), EPERM);
	assert_exit(result_of("\"SCMP_ACT_ERRNO\",\"errnoRet\":38"), ENOSYS);
	assert_exit(result_of("\"SCMP_ACT_ERRNO\",\"errnoRet\":0"), 0); /* it seems to succeed */
	assert_exit(result_of("\"SCMP_ACT_ALLOW\""), 0);
	assert_exit(result_of("\"SCMP_ACT_LOG\""), 0);
	assert_exit(result_of("\"SCMP_ACT_TRACE\""), ENOSYS); /* as nobody traces */
	assert_killed(result_of("\"SCMP_ACT_KILL\""));
	assert_killed(result_of("\"SCMP_ACT_KILL_THREAD\""));
	assert_killed(result_of("\"SCMP_ACT_KILL_PROCESS\""));
	assert_killed(result_of("\"SCMP_ACT_TRAP\""));
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	_exit(info->si_code == 1 /* SYS_SECCOMP */ && info->si_syscall == HARMLESS ? 33 : 34);
}

static int trapped(void)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	(void)sigaction(SIGSYS, &action, NULL);
	return harmless();
}

static void test_trap(void **state)
{
	(void)state;
	assert_exit(under("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"getpgid\"],"
			  "\"action\":\"SCMP_ACT_TRAP\"}]}",
			  trapped),
		    33);
}

static void test_actions_in_the_program(void **state)
{
	(void)state;
	static const struct {
		const char *action;
		uint32_t value;
	} cases[] = {
		{ "\"SCMP_ACT_KILL\"", SECCOMP_RET_KILL_THREAD },
		{ "\"SCMP_ACT_KILL_THREAD\"", SECCOMP_RET_KILL_THREAD },
		{ "\"SCMP_ACT_KILL_PROCESS\"", SECCOMP_RET_KILL_PROCESS },
		{ "\"SCMP_ACT_TRAP\"", SECCOMP_RET_TRAP },
		{ "\"SCMP_ACT_TRACE\",\"errnoRet\":7", SECCOMP_RET_TRACE | 7 },
		{ "\"SCMP_ACT_LOG\"", SECCOMP_RET_LOG },
		{ "\"SCMP_ACT_NOTIFY\"", SECCOMP_RET_USER_NOTIF },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char profile[256];
		struct seccomp_filter filter;
		bool found = false;

		(void)snprintf(profile, sizeof(profile),
			       "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[],\"syscalls\":["
			       "{\"names\":[\"getpgid\"],\"action\":%s}]}",
			       cases[i].action);
		filter = compiled(profile);
		for (size_t n = 0; n < filter.count; n++)
			found |= filter.code[n].code == (BPF_RET | BPF_K) && filter.code[n].k == cases[i].value;
		assert_true(found);
		assert_int_equal(filter.flags,
				 cases[i].value == SECCOMP_RET_USER_NOTIF ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0);
		assert_true(seccomp_action_available(cases[i].value & SECCOMP_RET_ACTION_FULL));
		seccomp_filter_free(&filter);
	}
	assert_false(seccomp_action_available(0x12340000));
}

/* What the kernel does with a program, so that other architectures can be asked, too. */
static uint32_t run_program(const struct seccomp_filter *filter, const struct seccomp_data *data)
{
	uint32_t accumulator = 0;

	for (size_t i = 0; i < filter->count; i++) {
		const struct sock_filter *at = filter->code + i;
		bool jump;

		switch (at->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&accumulator, (const char *)data + at->k, sizeof(accumulator));
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			accumulator &= at->k;
			continue;
		case BPF_RET | BPF_K:
			return at->k;
		case BPF_JMP | BPF_JA:
			i += at->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			jump = accumulator == at->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			jump = accumulator > at->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			jump = accumulator >= at->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			jump = accumulator & at->k;
			break;
		default:
			fail_msg("instruction %x", at->code);
			return 0;
		}
		i += jump ? at->jt : at->jf;
	}
	fail_msg("the program ran out");
	return 0;
}

static uint32_t verdict(const struct seccomp_filter *filter, uint32_t architecture, int number, uint64_t first,
			uint64_t second)
{
	struct seccomp_data data = { .nr = number, .arch = architecture, .args = { first, second } };

	return run_program(filter, &data);
}

static void test_operators(void **state)
{
	(void)state;
	static const struct {
		const char *condition;
		uint64_t yes, no;
	} cases[] = {
		{ "\"value\":5,\"op\":\"SCMP_CMP_EQ\"", 5, 6 },
		{ "\"value\":5,\"op\":\"SCMP_CMP_NE\"", 6, 5 },
		{ "\"value\":5,\"op\":\"SCMP_CMP_LT\"", 4, 5 },
		{ "\"value\":5,\"op\":\"SCMP_CMP_LE\"", 5, 6 },
		{ "\"value\":5,\"op\":\"SCMP_CMP_GT\"", 6, 5 },
		{ "\"value\":5,\"op\":\"SCMP_CMP_GE\"", 5, 4 },
		{ "\"value\":4294967296,\"op\":\"SCMP_CMP_GE\"", 1ULL << 32, 0xffffffff },
		{ "\"value\":18446744073709551615,\"op\":\"SCMP_CMP_EQ\"", UINT64_MAX, 0xffffffff },
		{ "\"value\":12,\"valueTwo\":4,\"op\":\"SCMP_CMP_MASKED_EQ\"", 0xf4 & ~8, 12 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char profile[400];
		struct seccomp_filter filter;

		(void)snprintf(profile, sizeof(profile),
			       "{\"defaultAction\":\"SCMP_ACT_ALLOW\"," ARCHS ",\"syscalls\":[{\"names\":[\"getpgid\"],"
			       "\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":99,\"args\":[{\"index\":1,%s}]}]}",
			       cases[i].condition);
		filter = compiled(profile);
		assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, SYS_getpgid, 0, cases[i].yes),
				 SECCOMP_RET_ERRNO | 99);
		assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, SYS_getpgid, cases[i].yes, cases[i].no),
				 SECCOMP_RET_ALLOW);
		assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, SYS_getsid, 0, cases[i].yes), SECCOMP_RET_ALLOW);
		seccomp_filter_free(&filter);
	}
}

#define RULE(args)                                                                                \
	"{\"defaultAction\":\"SCMP_ACT_ALLOW\"," ARCHS ",\"syscalls\":[{\"names\":[\"getpgid\"]," \
	"\"action\":\"SCMP_ACT_ERRNO\",\"args\":[" args "]}]}"
#define IS(index, value) "{\"index\":" #index ",\"value\":" #value ",\"op\":\"SCMP_CMP_EQ\"}"

static void test_several_conditions(void **state)
{
	(void)state;
	struct seccomp_filter both = compiled(RULE(IS(0, 1) "," IS(1, 2)));
	struct seccomp_filter either = compiled(RULE(IS(0, 1) "," IS(0, 2)));

	assert_int_equal(verdict(&both, AUDIT_ARCH_X86_64, SYS_getpgid, 1, 2), SECCOMP_RET_ERRNO | EPERM);
	assert_int_equal(verdict(&both, AUDIT_ARCH_X86_64, SYS_getpgid, 1, 3), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&both, AUDIT_ARCH_X86_64, SYS_getpgid, 2, 2), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&either, AUDIT_ARCH_X86_64, SYS_getpgid, 1, 0), SECCOMP_RET_ERRNO | EPERM);
	assert_int_equal(verdict(&either, AUDIT_ARCH_X86_64, SYS_getpgid, 2, 0), SECCOMP_RET_ERRNO | EPERM);
	assert_int_equal(verdict(&either, AUDIT_ARCH_X86_64, SYS_getpgid, 3, 0), SECCOMP_RET_ALLOW);
	seccomp_filter_free(&both);
	seccomp_filter_free(&either);
}

static void test_unknown_calls_are_left_out(void **state)
{
	(void)state;
	struct seccomp_filter filter = compiled(
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"no_such_call\",\"getpgid\"],"
		"\"action\":\"SCMP_ACT_ERRNO\"},{\"names\":[\"getsid\"],\"action\":\"SCMP_ACT_ALLOW\"}]}");

	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, SYS_getpgid, 0, 0), SECCOMP_RET_ERRNO | EPERM);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, SYS_getsid, 0, 0), SECCOMP_RET_ALLOW);
	seccomp_filter_free(&filter);
}

static void test_flags(void **state)
{
	(void)state;
#define FLAGS(list) "{\"defaultAction\":\"SCMP_ACT_ALLOW\"" list ",\"syscalls\":[]}"
#define NOTIFIES(list)                                                                                       \
	"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[" list "],\"syscalls\":[{\"names\":[\"getpgid\"]," \
	"\"action\":\"SCMP_ACT_NOTIFY\"}]}"
	static const struct {
		const char *profile;
		unsigned int flags;
	} cases[] = {
		{ FLAGS(""), SECCOMP_FILTER_FLAG_SPEC_ALLOW },
		{ FLAGS(",\"flags\":[]"), 0 },
		{ FLAGS(",\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"]"), SECCOMP_FILTER_FLAG_LOG },
		{ FLAGS(",\"flags\":[\"SECCOMP_FILTER_FLAG_TSYNC\"]"), 0 },
		{ FLAGS(",\"flags\":[\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\",\"SECCOMP_FILTER_FLAG_LOG\"]"),
		  SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_LOG },
		{ FLAGS(",\"flags\":[\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]"), 0 },
		{ NOTIFIES(""), SECCOMP_FILTER_FLAG_NEW_LISTENER },
		{ NOTIFIES("\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\""),
		  SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct seccomp_filter filter = compiled(cases[i].profile);

		assert_int_equal(filter.flags, cases[i].flags);
		assert_true(seccomp_flags_available(filter.flags));
		seccomp_filter_free(&filter);
	}
	assert_false(seccomp_flags_available(1u << 30));
}

static void test_refused_profiles(void **state)
{
	(void)state;
	struct oci_spec spec = spec_of("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}");
	struct seccomp_filter filter;
	struct error err = ERROR_INIT;

	/* What the parser would not let through is no reason to do something else. */
	spec.linux_.seccomp.default_action = "SCMP_ACT_NONSENSE";
	assert_int_equal(seccomp_compile(&spec.linux_.seccomp, &filter, &err), -EINVAL);
	assert_non_null(strstr(err.text, "SCMP_ACT_NONSENSE"));
	spec.linux_.seccomp.default_action = "SCMP_ACT_NOTIFY";
	assert_int_equal(seccomp_compile(&spec.linux_.seccomp, &filter, &err), -EINVAL);
	assert_string_equal(err.text, "SCMP_ACT_NOTIFY cannot be used as default action");
	spec.linux_.seccomp.default_action = "SCMP_ACT_ALLOW";
	spec.linux_.seccomp.architectures = (struct oci_strings){ .count = 1,
								  .items = (const char *[]){ "SCMP_ARCH_VAX", NULL } };
	assert_int_equal(seccomp_compile(&spec.linux_.seccomp, &filter, &err), -EINVAL);
	assert_non_null(strstr(err.text, "SCMP_ARCH_VAX"));
	oci_spec_free(&spec);
}

/* On x86-64 "getpgid" is 121, "setns" 308; on i386 132 and 346; on arm64 155 and 268; on s390x 132 and 339. */
#define LIST_TO_SETNS(archs, action)                                                                             \
	"{\"defaultAction\":\"" action "\",\"architectures\":[" archs "],\"syscalls\":[{\"names\":[\"getpgid\"," \
	"\"exit_group\",\"setns\"],\"action\":\"SCMP_ACT_ALLOW\"}]}"
#define ERRNO_LIST(archs) LIST_TO_SETNS(archs, "SCMP_ACT_ERRNO")

static void test_newer_calls_than_the_profile(void **state)
{
	(void)state;
	const uint32_t enosys = SECCOMP_RET_ERRNO | ENOSYS, eperm = SECCOMP_RET_ERRNO | EPERM, x32 = 0x40000000;
	struct seccomp_filter filter = compiled(
		ERRNO_LIST("\"SCMP_ARCH_X32\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_AARCH64\""));

	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, SYS_getpgid, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, SYS_getsid, 0, 0), eperm);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, 308, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, 309, 0, 0), enosys);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, 100000, 0, 0), enosys);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, (int)(x32 | 308), 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, (int)(x32 | 309), 0, 0), enosys);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, (int)(x32 | 39), 0, 0), eperm);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_I386, 346, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_I386, 347, 0, 0), enosys);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_AARCH64, 268, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_AARCH64, 269, 0, 0), enosys);
	assert_int_equal(verdict(&filter, AUDIT_ARCH_AARCH64, 17, 0, 0), eperm);
	/* Architectures that the profile does not have are libseccomp's to refuse, whatever the number. */
	assert_int_equal(verdict(&filter, AUDIT_ARCH_PPC64LE, 100000, 0, 0), SECCOMP_RET_KILL_THREAD);
	seccomp_filter_free(&filter);
}

static void test_x32_without_a_limit(void **state)
{
	(void)state;
	struct seccomp_filter filter = compiled(ERRNO_LIST("\"SCMP_ARCH_X86_64\""));
	const uint32_t x32_call = 0x40000000 | 100000;

	assert_int_equal(verdict(&filter, AUDIT_ARCH_X86_64, 100000, 0, 0), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_not_equal(verdict(&filter, AUDIT_ARCH_X86_64, (int)x32_call, 0, 0), SECCOMP_RET_ERRNO | ENOSYS);
	seccomp_filter_free(&filter);
}

static void test_where_no_prologue_belongs(void **state)
{
	(void)state;
	static const char *const profiles[] = {
		LIST_TO_SETNS("\"SCMP_ARCH_X86_64\"", "SCMP_ACT_LOG"),
		LIST_TO_SETNS("\"SCMP_ARCH_X86_64\"", "SCMP_ACT_TRACE"),
		ERRNO_LIST(""), /* as in runc */
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"architectures\":[\"SCMP_ARCH_X86_64\"],"
		"\"syscalls\":[{\"names\":[\"setns\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_64\"],\"syscalls\":[]}",
	};
	struct sock_filter code[SECCOMP_PROLOGUE_MAX];

	for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++) {
		struct oci_spec spec = spec_of(profiles[i]);

		assert_int_equal(seccomp_prologue(&spec.linux_.seccomp, code), 0);
		oci_spec_free(&spec);
	}
}

static int newer_call(void)
{
	return syscall(100000) < 0 ? errno : 0;
}

static void test_the_kernel_takes_the_prologue(void **state)
{
	(void)state;
	assert_exit(under(ERRNO_LIST("\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\""), newer_call), ENOSYS);
	assert_exit(under(ERRNO_LIST("\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\""), harmless), 0);
	assert_killed(under(LIST_TO_SETNS("", "SCMP_ACT_KILL_PROCESS"), newer_call));
}

static void test_sanity(void **state)
{
	(void)state;
	struct sock_filter code[] = {
		{ BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 5 },
		{ BPF_JMP | BPF_JA, 0, 0, 0 },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};

	assert_true(seccomp_code_is_sane(code, 3));
	assert_false(seccomp_code_is_sane(code, 2));
	assert_false(seccomp_code_is_sane(code, 0));
	code[0].jt = 2;
	assert_false(seccomp_code_is_sane(code, 3));
	code[0].jt = 0;
	code[1].k = 0xffffffff;
	assert_false(seccomp_code_is_sane(code, 3));
}

/* The cache: a directory with one file in it, which is then spoiled in every way. */
struct cache {
	char path[32];
	int fd;
	struct oci_spec spec;
	char key[SECCOMP_KEY_MAX];
	struct seccomp_filter fresh;
};

static void cache_open(struct cache *cache)
{
	strcpy(cache->path, "/tmp/test_seccomp.XXXXXX");
	assert_non_null(mkdtemp(cache->path));
	cache->fd = open(cache->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(cache->fd >= 0);
	cache->spec = spec_of(ERRNO_LIST("\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\""));
	assert_true(seccomp_cache_key(&cache->spec.linux_.seccomp, cache->key));
	assert_int_equal(seccomp_compile_cached(&cache->spec.linux_.seccomp, cache->fd, &cache->fresh, NULL), 0);
	assert_false(cache->fresh.from_cache);
}

static void cache_close(struct cache *cache)
{
	seccomp_filter_free(&cache->fresh);
	oci_spec_free(&cache->spec);
	close(cache->fd);
	assert_int_equal(file_remove_all(AT_FDCWD, cache->path, NULL), 0);
}

/* Whether the next compilation takes the file; its result must be the same in any case. */
static bool hits(struct cache *cache)
{
	struct seccomp_filter again;
	bool hit;

	assert_int_equal(seccomp_compile_cached(&cache->spec.linux_.seccomp, cache->fd, &again, NULL), 0);
	assert_int_equal(again.count, cache->fresh.count);
	assert_int_equal(again.flags, cache->fresh.flags);
	assert_memory_equal(again.code, cache->fresh.code, again.count * sizeof(*again.code));
	hit = again.from_cache;
	seccomp_filter_free(&again);
	return hit;
}

static void spoil_byte(struct cache *cache, off_t at)
{
	cleanup_close int fd = openat(cache->fd, cache->key, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void test_cache(void **state)
{
	(void)state;
	struct cache cache;
	struct oci_spec other = spec_of(ERRNO_LIST("\"SCMP_ARCH_X86_64\""));
	char other_key[SECCOMP_KEY_MAX];
	struct stat st;

	cache_open(&cache);
	assert_true(hits(&cache));
	assert_int_equal(fstatat(cache.fd, cache.key, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(seccomp_cache_key(&other.linux_.seccomp, other_key));
	assert_string_not_equal(cache.key, other_key);
	/* Every byte counts. */
	for (off_t at = 0; at < st.st_size; at += 5) {
		spoil_byte(&cache, at);
		assert_false(hits(&cache));
		assert_true(hits(&cache));
	}
	oci_spec_free(&other);
	cache_close(&cache);
}

static void test_spoiled_cache_files(void **state)
{
	(void)state;
	struct cache cache;
	struct stat st;
	char elsewhere[128];

	cache_open(&cache);
	assert_int_equal(fchmodat(cache.fd, cache.key, 0644, 0), 0);
	assert_false(hits(&cache));
	assert_true(hits(&cache));
	assert_int_equal(fstatat(cache.fd, cache.key, &st, 0), 0);
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/%s", cache.path, cache.key);
	for (off_t cut = 1; cut <= 16; cut++) {
		assert_int_equal(truncate(elsewhere, st.st_size - cut), 0);
		assert_false(hits(&cache));
	}
	assert_int_equal(truncate(elsewhere, 0), 0);
	assert_false(hits(&cache));
	assert_int_equal(truncate(elsewhere, 1 << 20), 0);
	assert_false(hits(&cache));
	assert_int_equal(linkat(cache.fd, cache.key, cache.fd, "second", 0), 0);
	assert_false(hits(&cache));
	assert_int_equal(renameat(cache.fd, cache.key, cache.fd, "target"), 0);
	assert_int_equal(symlinkat("target", cache.fd, cache.key), 0);
	assert_false(hits(&cache));
	assert_int_equal(unlinkat(cache.fd, cache.key, 0), 0);
	assert_int_equal(mkfifoat(cache.fd, cache.key, 0600), 0);
	assert_false(hits(&cache));
	if (geteuid() == 0) {
		assert_int_equal(fchownat(cache.fd, cache.key, 65534, 65534, 0), 0);
		assert_false(hits(&cache));
	}
	assert_true(hits(&cache));
	/* No place to write to is no error. */
	assert_int_equal(unlinkat(cache.fd, cache.key, 0), 0);
	assert_int_equal(mkdirat(cache.fd, cache.key, 0700), 0);
	assert_false(hits(&cache));
	assert_false(hits(&cache));
	cache_close(&cache);
}

/* The whole way of a notification: child, listener, agent's socket, answer. */
static int notified_child(const struct seccomp_filter *filter, int channel)
{
	int listener;

	if (process_set_no_new_privileges(NULL) < 0)
		return 1;
	listener = seccomp_filter_load(filter, NULL);
	if (listener < 0 || fcntl(listener, F_GETFD) != FD_CLOEXEC)
		return 2;
	if (fdpass_send(channel, &listener, 1, "l", 1, NULL) < 0)
		return 3;
	return harmless();
}

static int agent_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int hand_over(int agent, const char *path, int listener, pid_t pid)
{
	cleanup_close int peer = -1;
	char text[512];
	char wanted[256];
	int received = -1, length;
	size_t count = 1;

	assert_int_equal(seccomp_listener_send(path, listener, pid, "meta \"data\"", "{\"id\":\"c1\"}", NULL), 0);
	peer = accept4(agent, NULL, NULL, SOCK_CLOEXEC);
	length = fdpass_receive(peer, &received, &count, text, sizeof(text) - 1, NULL);
	assert_true(length > 0);
	assert_int_equal(count, 1);
	text[length] = '\0';
	(void)snprintf(wanted, sizeof(wanted),
		       "{\"ociVersion\":\"%s\",\"fds\":[\"seccompFd\"],\"pid\":%d,\"metadata\":\"meta \\\"data\\\"\","
		       "\"state\":{\"id\":\"c1\"}}",
		       OCI_VERSION, (int)pid);
	assert_string_equal(text, wanted);
	return received;
}

static void test_notify(void **state)
{
	(void)state;
	struct seccomp_filter filter = compiled(NOTIFIES(""));
	struct clone_options options = CLONE_OPTIONS_INIT;
	struct seccomp_notif request = { .id = 0 };
	struct seccomp_notif_resp response = { .id = 0 };
	char dir[] = "/tmp/test_seccomp.XXXXXX", path[64], byte;
	cleanup_close int pidfd = -1, listener = -1, received = -1, agent = -1;
	int channel[2], status = -1;
	size_t count = 1;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), 0);
	options.pidfd = &pidfd;
	pid = clone_process(&options, NULL);
	if (pid == 0)
		_exit(notified_child(&filter, channel[1]));
	assert_int_equal(fdpass_receive(channel[0], &listener, &count, &byte, 1, NULL), 1);
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/agent", dir);
	agent = agent_socket(path);
	received = hand_over(agent, path, listener, pid);
	assert_int_equal(ioctl(received, SECCOMP_IOCTL_NOTIF_RECV, &request), 0);
	assert_int_equal(request.data.nr, HARMLESS);
	assert_int_equal(request.pid, pid);
	response.id = request.id;
	response.error = -EXDEV;
	assert_int_equal(ioctl(received, SECCOMP_IOCTL_NOTIF_SEND, &response), 0);
	assert_int_equal(pidfd_wait(pidfd, 0, &status), 1);
	assert_exit(status, EXDEV);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(seccomp_listener_send(path, listener, pid, NULL, "{}", NULL), -ENOENT);
	assert_int_equal(rmdir(dir), 0);
	close(channel[0]);
	close(channel[1]);
	seccomp_filter_free(&filter);
}

static int load_nothing(void)
{
	struct error err = ERROR_INIT;

	return seccomp_install(NULL, 0, 0, &err) == -EINVAL && strstr(err.text, "0 instructions") ? 0 : 1;
}

static void test_refused_installation(void **state)
{
	(void)state;
	assert_int_equal(load_nothing(), 0);
}

/* From one machine's cache into another's, under another name meanwhile. */
static void test_cache_adopted(void **state)
{
	struct cache cache;
	struct seccomp_filter filter;
	char other[] = "/tmp/test_seccomp.XXXXXX", bytes[65536];
	int fd, dir, copy;
	ssize_t size;

	(void)state;
	cache_open(&cache);
	assert_non_null(mkdtemp(other));
	dir = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = seccomp_cache_open(&cache.spec.linux_.seccomp, cache.fd, NULL);
	copy = openat(dir, "4711", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(dir >= 0 && fd >= 0 && copy >= 0);
	size = read(fd, bytes, sizeof(bytes));
	assert_true(size > 0 && write(copy, bytes, (size_t)size) == size);
	close(fd);
	close(copy);
	assert_int_equal(seccomp_cache_adopt(&cache.spec.linux_.seccomp, dir, dir, "nothing"), -ENOENT);
	assert_int_equal(seccomp_cache_adopt(&cache.spec.linux_.seccomp, dir, dir, "4711"), 0);
	assert_int_equal(seccomp_compile_cached(&cache.spec.linux_.seccomp, dir, &filter, NULL), 0);
	assert_true(filter.from_cache);
	assert_int_equal(filter.count, cache.fresh.count);
	seccomp_filter_free(&filter);
	/* Nowhere to keep it. */
	assert_int_equal(seccomp_cache_open(&cache.spec.linux_.seccomp, -1, NULL), -ENOENT);
	close(dir);
	assert_int_equal(file_remove_all(AT_FDCWD, other, NULL), 0);
	cache_close(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_trap),
		cmocka_unit_test(test_actions_in_the_program),
		cmocka_unit_test(test_operators),
		cmocka_unit_test(test_several_conditions),
		cmocka_unit_test(test_unknown_calls_are_left_out),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_refused_profiles),
		cmocka_unit_test(test_newer_calls_than_the_profile),
		cmocka_unit_test(test_x32_without_a_limit),
		cmocka_unit_test(test_where_no_prologue_belongs),
		cmocka_unit_test(test_the_kernel_takes_the_prologue),
		cmocka_unit_test(test_sanity),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_adopted),
		cmocka_unit_test(test_spoiled_cache_files),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_refused_installation),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
