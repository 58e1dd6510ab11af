/* SPDX-License-Identifier: Apache-2.0 */
/* linux/procfs.h, and what writes through it: linux/lsm.h and the sysctls of linux/process.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "linux/lsm.h"
#include "linux/process.h"
#include "linux/procfs.h"

static void test_open(void **state)
{
	(void)state;
	struct error err = ERROR_INIT;
	cleanup_close int procfs = procfs_open(&err);
	cleanup_close int file = -1, status = -1;

	assert_true(procfs >= 0);
	assert_int_equal(fcntl(procfs, F_GETFD), FD_CLOEXEC);
	status = procfs_open_file(procfs, "thread-self/status", O_RDONLY);
	assert_true(status >= 0);
	assert_int_equal(fcntl(status, F_GETFD), FD_CLOEXEC);
	assert_int_equal(procfs_open_file(procfs, "../etc/passwd", O_RDONLY), -EXDEV);
	assert_int_equal(procfs_open_file(procfs, "/etc/passwd", O_RDONLY), -EXDEV);
	file = procfs_open_file(procfs, "self/root/etc/passwd", O_RDONLY); /* a magic link */
	assert_true(file == -ELOOP || file == -EXDEV);
	assert_int_equal(procfs_open_file(procfs, "self/exe", O_RDONLY), -ELOOP);
	assert_int_equal(procfs_open_file(procfs, "no/such", O_RDONLY), -ENOENT);
	assert_int_equal(procfs_write(procfs, "self/oom_score_adj", "nonsense"), -EINVAL);
}

static int private_mounts(void)
{
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* What a hostile image can arrange: another file where the label is to be written. */
static int covered_file(void)
{
	struct error err = ERROR_INIT;
	cleanup_close int procfs = procfs_open(&err);
	char path[64];

	CHECK(procfs >= 0 && private_mounts() == 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)getpid());
	CHECK(process_set_oom_score_adj(procfs, 500, &err) == 0);
	CHECK(mount("/proc/self/comm", path, NULL, MS_BIND, NULL) == 0); /* even a file of the same procfs */
	CHECK(procfs_write(procfs, "self/oom_score_adj", "501") == -EXDEV);
	CHECK(process_set_oom_score_adj(procfs, 501, &err) == -EXDEV);
	CHECK(strstr(err.text, "oom_score_adj"));
	CHECK(mount("tmpfs", "/proc/sys", "tmpfs", 0, NULL) == 0);
	CHECK(process_set_sysctl(procfs, "kernel.hostname", "x", &err) == -EXDEV);
	return 0;
}

static int no_procfs(void)
{
	struct error err = ERROR_INIT;

	CHECK(private_mounts() == 0);
	CHECK(mount("/proc/self", "/proc", NULL, MS_BIND, NULL) == 0);
	CHECK(procfs_open(&err) == -ENODEV);
	CHECK(umount("/proc") == 0);
	CHECK(mount("tmpfs", "/proc", "tmpfs", 0, NULL) == 0);
	CHECK(procfs_open(&err) == -ENODEV);
	CHECK(strstr(err.text, "not a procfs"));
	return 0;
}

static int sysctl(void)
{
	struct error err = ERROR_INIT;
	cleanup_close int procfs = procfs_open(&err);
	struct utsname host;

	CHECK(process_set_sysctl(procfs, "kernel.hostname", "caisson-test", &err) == 0);
	CHECK(uname(&host) == 0 && strcmp(host.nodename, "caisson-test") == 0);
	CHECK(process_set_sysctl(procfs, "kernel/hostname", "caisson-test2", &err) == 0);
	CHECK(uname(&host) == 0 && strcmp(host.nodename, "caisson-test2") == 0);
	CHECK(process_set_sysctl(procfs, "no.such.name", "1", &err) == -ENOENT);
	CHECK(strstr(err.text, "no.such.name"));
	CHECK(process_set_sysctl(procfs, "../../etc/passwd", "1", &err) == -EINVAL);
	CHECK(process_set_sysctl(procfs, "net/../../self/oom_score_adj", "1", &err) == -EINVAL);
	return 0;
}

static void test_sysctl_paths(void **state)
{
	(void)state;
	static const struct {
		const char *name, *path;
	} cases[] = {
		{ "kernel.shmmax", "kernel/shmmax" },
		{ "net.ipv4.ip_forward", "net/ipv4/ip_forward" },
		{ "net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding" },
		{ "net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding" },
		{ "kernel", "kernel" },
	};
	static const char *const bad[] = { "", ".", "..", "net..x", "net.ipv4.", ".net", "net/../x", "/net", "a/./b" };
	char path[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(process_sysctl_path(cases[i].name, path, sizeof(path)), 0);
		assert_string_equal(path, cases[i].path);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(process_sysctl_path(bad[i], path, sizeof(path)), -EINVAL);
	assert_int_equal(process_sysctl_path("12345678", path, 8), -ENAMETOOLONG);
	assert_int_equal(process_sysctl_path("1234567", path, 8), 0);
}

static void test_covered_file(void **state)
{
	(void)state;
	need_root();
	in_child(CLONE_NEWNS | CLONE_NEWUTS, covered_file);
}

static void test_no_procfs(void **state)
{
	(void)state;
	need_root();
	in_child(CLONE_NEWNS, no_procfs);
}

static void test_sysctl(void **state)
{
	(void)state;
	need_root();
	in_child(CLONE_NEWUTS, sysctl);
}

/* Where a module is not active, its label must not be dropped in silence. */
static void test_inactive_modules(void **state)
{
	(void)state;
	struct error err = ERROR_INIT;
	cleanup_close int procfs = procfs_open(&err);

	if (!lsm_apparmor_enabled()) {
		assert_int_equal(lsm_apparmor_set_exec(procfs, "some-profile", &err), -EOPNOTSUPP);
		assert_non_null(strstr(err.text, "some-profile"));
		assert_non_null(strstr(err.text, "apparmor is not enabled"));
	}
	if (!lsm_selinux_enabled()) {
		assert_int_equal(lsm_selinux_set_exec(procfs, "a:b:c:s0", &err), -EOPNOTSUPP);
		assert_non_null(strstr(err.text, "selinux is not enabled"));
		assert_int_equal(lsm_selinux_set_key(procfs, "a:b:c:s0", &err), -EOPNOTSUPP);
	}
}

/* AppArmor takes the order in a child only; what it does with it shows at execve(2). */
static int apparmor_profile(void)
{
	struct error err = ERROR_INIT;
	cleanup_close int procfs = procfs_open(&err);

	CHECK(lsm_apparmor_set_exec(procfs, "no-such-profile-of-caisson", &err) == -ENOENT);
	CHECK(strstr(err.text, "is not loaded"));
	CHECK(lsm_apparmor_set_exec(procfs, "unconfined", &err) == 0);
	return 0;
}

static void test_apparmor(void **state)
{
	(void)state;
	if (!lsm_apparmor_enabled()) {
		print_message("skipped: AppArmor is not active on this host\n");
		skip();
	}
	need_root();
	in_child(0, apparmor_profile);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),	     cmocka_unit_test(test_covered_file),
		cmocka_unit_test(test_no_procfs),    cmocka_unit_test(test_sysctl),
		cmocka_unit_test(test_sysctl_paths), cmocka_unit_test(test_inactive_modules),
		cmocka_unit_test(test_apparmor),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
