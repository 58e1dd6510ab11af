/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <linux/securebits.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "linux/process.h"

static void test_lists(void **state)
{
	(void)state;
	uint64_t words[2];

	assert_int_equal(process_parse_list("0-3,7,64", words, 128), 0);
	assert_int_equal(words[0], 0x8f);
	assert_int_equal(words[1], 1);
	assert_int_equal(process_parse_list("127", words, 128), 0);
	assert_int_equal(words[1], 1ULL << 63);
	assert_int_equal(process_parse_list("128", words, 128), -ERANGE);
	assert_int_equal(process_parse_list("0-99999999999999999999", words, 128), -ERANGE);
	assert_int_equal(process_parse_list("", words, 128), 0);
	assert_int_equal(words[0] | words[1], 0);
	static const char *const bad[] = { "a", "1-", "-1", "3-1", "1,", ",1", "1,,2", "1 2", "1-2-3", "0x1", "+1" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(process_parse_list(bad[i], words, 128), -EINVAL);
}

static int limits(void)
{
	struct error err = ERROR_INIT;
	struct rlimit limit;

	CHECK(process_rlimit_from_name("RLIMIT_NOFILE") == RLIMIT_NOFILE);
	CHECK(process_rlimit_from_name("RLIMIT_AS") == RLIMIT_AS);
	CHECK(process_rlimit_from_name("NOFILE") == -EINVAL);
	CHECK(process_set_rlimit(0, "RLIMIT_NOFILE", 50, 60, &err) == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 50 && limit.rlim_max == 60);
	CHECK(process_set_rlimit(0, "RLIMIT_NOFILE", 61, 60, &err) == -EINVAL);
	CHECK(strstr(err.text, "RLIMIT_NOFILE"));
	CHECK(process_set_rlimit(0, "RLIMIT_BOGUS", 1, 1, &err) == -EINVAL);
	CHECK(strstr(err.text, "RLIMIT_BOGUS"));
	CHECK(process_set_rlimit(0, "RLIMIT_CORE", 0, 0, &err) == 0);
	return 0;
}

static int io_priority(void)
{
	struct error err = ERROR_INIT;

	CHECK(process_set_io_priority("IOPRIO_CLASS_BE", 5, &err) == 0);
	CHECK(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) == IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 5));
	CHECK(process_set_io_priority("IOPRIO_CLASS_IDLE", 0, &err) == 0);
	CHECK(IOPRIO_PRIO_CLASS(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0)) == IOPRIO_CLASS_IDLE);
	CHECK(process_set_io_priority("IOPRIO_CLASS_BE", 8, &err) == -EINVAL);
	CHECK(process_set_io_priority("BE", 1, &err) == -EINVAL);
	return 0;
}

static int scheduler(void)
{
	struct error err = ERROR_INIT;
	const char *const flags[] = { "SCHED_FLAG_RESET_ON_FORK" };
	struct process_scheduler wanted = { .policy = "SCHED_BATCH", .nice = 7, .flags = flags, .flags_count = 1 };

	CHECK(process_set_scheduler(&wanted, &err) == 0);
	CHECK(sched_getscheduler(0) == (SCHED_BATCH | SCHED_RESET_ON_FORK));
	CHECK(getpriority(PRIO_PROCESS, 0) == 7);
	wanted.policy = "SCHED_IDLE";
	CHECK(process_set_scheduler(&wanted, &err) == 0);
	wanted.policy = "SCHED_NONSENSE";
	CHECK(process_set_scheduler(&wanted, &err) == -EINVAL && strstr(err.text, "SCHED_NONSENSE"));
	wanted = (struct process_scheduler){ .policy = "SCHED_FIFO", .priority = 0 };
	CHECK(process_set_scheduler(&wanted, &err) == -EINVAL);
	wanted = (struct process_scheduler){
		.policy = "SCHED_DEADLINE", .runtime = 30000000, .deadline = 20000000, .period = 40000000
	};
	CHECK(process_set_scheduler(&wanted, &err) == -EINVAL && strstr(err.text, "runtime (30000000)"));
	return 0;
}

static int affinity(void)
{
	struct error err = ERROR_INIT;
	cpu_set_t set;

	CHECK(process_set_affinity(0, "0", &err) == 0);
	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set));
	CHECK(process_set_affinity(0, "0-4000", &err) == 0); /* those that are there */
	CHECK(process_set_affinity(0, "8000", &err) == -EINVAL);
	CHECK(process_set_affinity(0, "", &err) == -EINVAL);
	CHECK(process_set_affinity(0, "0;1", &err) == -EINVAL && strstr(err.text, "0;1"));
	return 0;
}

static int domain(void)
{
	struct error err = ERROR_INIT;
	struct utsname host;

	CHECK(process_set_personality("LINUX32", &err) == 0);
	CHECK(uname(&host) == 0 && strcmp(host.machine, "x86_64") != 0);
	CHECK(process_set_personality("LINUX", &err) == 0);
	CHECK(process_set_personality("linux", &err) == -EINVAL);
	return 0;
}

static int memory_policy(void)
{
	struct error err = ERROR_INIT;
	const char *const flags[] = { "MPOL_F_STATIC_NODES" };
	const char *const bad[] = { "MPOL_F_BOGUS" };
	unsigned long nodes[128];
	int mode, ret = process_set_memory_policy("MPOL_BIND", flags, 1, "0", &err);

	if (ret == -ENOSYS)
		return CHILD_SKIP;
	CHECK(ret == 0);
	CHECK(syscall(SYS_get_mempolicy, &mode, nodes, sizeof(nodes) * 8, NULL, 0) == 0);
	CHECK(mode == (MPOL_BIND | MPOL_F_STATIC_NODES) && nodes[0] == 1);
	CHECK(process_set_memory_policy("MPOL_DEFAULT", NULL, 0, NULL, &err) == 0);
	CHECK(process_set_memory_policy("MPOL_BIND", bad, 1, "0", &err) == -EINVAL && strstr(err.text, "MPOL_F_BOGUS"));
	CHECK(process_set_memory_policy("MPOL_BOGUS", NULL, 0, NULL, &err) == -EINVAL);
	CHECK(process_set_memory_policy("MPOL_BIND", NULL, 0, "x", &err) == -EINVAL);
	CHECK(process_set_memory_policy("MPOL_BIND", NULL, 0, NULL, &err) == -EINVAL); /* the kernel wants nodes */
	return 0;
}

static int keyring(void)
{
	struct error err = ERROR_INIT;
	char description[128] = "";
	int serial = process_join_session_keyring("_ses.caisson-test", &err);

	if (serial == 0)
		return CHILD_SKIP;
	CHECK(serial > 0);
	CHECK(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) == serial);
	CHECK(syscall(SYS_keyctl, KEYCTL_DESCRIBE, serial, description, sizeof(description)) > 0);
	/* The possessor may do all, the user view, search and link. */
	CHECK(strstr(description, ";3f190000;_ses.caisson-test"));
	return 0;
}

static int privileges(void)
{
	struct error err = ERROR_INIT;

	CHECK(process_set_keep_capabilities(true) == 0 && prctl(PR_GET_KEEPCAPS) == 1);
	CHECK(process_set_keep_capabilities(false) == 0 && prctl(PR_GET_KEEPCAPS) == 0);
	CHECK(process_set_no_new_privileges(&err) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	return 0;
}

static int become_user(void)
{
	struct error err = ERROR_INIT;
	const gid_t groups[] = { 10, 20 };
	gid_t real[4], effective, saved, gid;
	uid_t uid;

	/* To setresuid(2), -1 means to stay what one is. */
	CHECK(process_set_user((uid_t)-1, 1000, NULL, 0, &err) == -EINVAL);
	CHECK(process_set_user(1000, (gid_t)-1, NULL, 0, &err) == -EINVAL);
	CHECK(geteuid() == 0 && getegid() == 0);
	CHECK(process_set_user(0, 0, groups, 2, &err) == 0);
	CHECK(process_set_user(1000, 2000, NULL, PROCESS_KEEP_GROUPS, &err) == 0);
	CHECK(getgroups(4, real) == 2 && real[0] == 10 && real[1] == 20);
	CHECK(getresuid(&uid, &effective, &saved) == 0 && uid == 1000 && effective == 1000 && saved == 1000);
	CHECK(getresgid(&gid, &effective, &saved) == 0 && gid == 2000 && effective == 2000 && saved == 2000);
	CHECK(process_set_user(0, 0, NULL, 0, &err) == -EPERM);
	return 0;
}

#define TEST(body, root)                      \
	static void test_##body(void **state) \
	{                                     \
		(void)state;                  \
		if (root)                     \
			need_root();          \
		in_child(0, body);            \
	}
TEST(limits, false)
TEST(io_priority, false)
TEST(scheduler, false)
TEST(affinity, false)
TEST(domain, false)
TEST(memory_policy, false)
TEST(keyring, false)
TEST(privileges, false)
TEST(become_user, true)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),	      cmocka_unit_test(test_limits),
		cmocka_unit_test(test_io_priority),   cmocka_unit_test(test_scheduler),
		cmocka_unit_test(test_affinity),      cmocka_unit_test(test_domain),
		cmocka_unit_test(test_memory_policy), cmocka_unit_test(test_keyring),
		cmocka_unit_test(test_privileges),    cmocka_unit_test(test_become_user),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
