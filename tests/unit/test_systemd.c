/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scopes made by a real systemd: tests/lab/systemd-in-lab.sh gives one.  Argument: the path of caisson-systemd.  Where
 * no systemd runs it is tested that one is told so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/cgroup.h"
#include "linux/systemd.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

struct fixture {
	struct systemd systemd;
	struct cgroup_host host;
	char unit[64];
	pid_t pid;
};

static const char *helper;

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->systemd = (struct systemd){ .helper = helper, .user = geteuid() != 0 };
	assert_int_equal(cgroup_host_read(&fixture->host, NULL), 0);
	(void)snprintf(fixture->unit, sizeof(fixture->unit), "caisson-test-%d.scope", (int)getpid());
	fixture->pid = fork();
	if (fixture->pid == 0)
		for (;;)
			pause();
	*state = fixture;
	return fixture->pid < 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	if (systemd_available(&fixture->systemd))
		(void)systemd_stop(&fixture->systemd, fixture->unit, NULL);
	(void)kill(fixture->pid, SIGKILL);
	(void)waitpid(fixture->pid, NULL, 0);
	cgroup_host_free(&fixture->host);
	free(fixture);
	return 0;
}

static void need_systemd(const struct fixture *fixture)
{
	if (!systemd_available(&fixture->systemd) || !helper) {
		print_message("skipped: no systemd is running here; use tests/lab/systemd-in-lab.sh\n");
		skip();
	}
}

static void assert_ok(int ret, const struct error *err)
{
	if (ret < 0)
		fail_msg("%d: %s", ret, err->text);
}

static void start(struct fixture *fixture, const struct systemd_property *more, size_t count, char **cgroup)
{
	const struct systemd_item pids = { .number = (uint64_t)fixture->pid };
	struct systemd_property properties[32] = {
		{ "Description", SYSTEMD_STRING, .text = "a test: of 'words' and \"quotes\"" },
		{ "Slice", SYSTEMD_STRING, .text = "caissontest.slice" },
		{ "Delegate", SYSTEMD_BOOL, .number = 1 },
		{ "DefaultDependencies", SYSTEMD_BOOL, .number = 0 },
		{ "PIDs", SYSTEMD_U32S, .items = &pids, .count = 1 },
	};
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < count; i++)
		properties[5 + i] = more[i];
	assert_ok(systemd_start_scope(&fixture->systemd, fixture->unit, properties, 5 + count, cgroup, &err), &err);
}

/* What a v2 or v1 file of the scope says. */
static char *read_limit(const struct fixture *fixture, const char *path, const char *controller, const char *v1,
			const char *v2)
{
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	char *text = NULL;

	assert_ok(cgroup_open(&fixture->host, path, &cgroup, &err), &err);
	if (fixture->host.layout == CGROUP_V2)
		assert_ok(cgroup_read(&cgroup, "", v2, &text, &err), &err);
	else
		assert_ok(cgroup_read(&cgroup, controller, v1, &text, &err), &err);
	cgroup_close(&cgroup);
	return text;
}

static void assert_limit(const struct fixture *fixture, const char *path, const char *controller, const char *v1,
			 const char *v2, const char *want)
{
	cleanup_free char *text = read_limit(fixture, path, controller, v1, v2);

	assert_string_equal(text, want);
}

static void test_life(void **state)
{
	struct fixture *fixture = *state;
	const struct systemd_property limits[] = {
		{ fixture->host.layout == CGROUP_V2 ? "MemoryMax" : "MemoryLimit", SYSTEMD_U64, .number = 67108864 },
		{ "TasksMax", SYSTEMD_U64, .number = 23 },
	};
	const struct systemd_property update = { limits[0].name, SYSTEMD_U64, .number = UINT64_MAX };
	cleanup_free char *cgroup = NULL, *own = NULL;
	char path[64], want[160];
	struct error err = ERROR_INIT;
	unsigned version = 0;
	int status;

	need_systemd(fixture);
	assert_ok(systemd_version(&fixture->systemd, &version, &err), &err);
	assert_true(version >= 200);
	start(fixture, limits, COUNT(limits), &cgroup);
	(void)snprintf(want, sizeof(want), "/caissontest.slice/%s", fixture->unit);
	assert_non_null(strstr(cgroup, want));
	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)fixture->pid);
	assert_ok(file_read(AT_FDCWD, path, 65536, &own, NULL, &err), &err);
	assert_non_null(strstr(own, cgroup));
	assert_limit(fixture, cgroup, "memory", "memory.limit_in_bytes", "memory.max", "67108864\n");
	assert_limit(fixture, cgroup, "pids", "pids.max", "pids.max", "23\n");

	assert_ok(systemd_set_properties(&fixture->systemd, fixture->unit, &update, 1, &err), &err);
	assert_limit(fixture, cgroup, "memory", "memory.limit_in_bytes", "memory.max",
		     fixture->host.layout == CGROUP_V2 ? "max\n" : "9223372036854771712\n");

	assert_ok(systemd_stop(&fixture->systemd, fixture->unit, &err), &err);
	assert_int_equal(waitpid(fixture->pid, &status, 0), fixture->pid);
	assert_true(WIFSIGNALED(status));
	assert_ok(systemd_stop(&fixture->systemd, fixture->unit, &err), &err);
	assert_int_equal(systemd_set_properties(&fixture->systemd, fixture->unit, &update, 1, &err), -ENOENT);
}

/* One property of each type, and what the kernel got. */
static void test_types(void **state)
{
	struct fixture *fixture = *state;
	const unsigned char cpus[] = { 1 };
	const struct systemd_item devices[] = { { "/dev/null", "rwm", 0 }, { "char-pts", "rw", 0 } },
				  disks[] = { { "/", NULL, 1048576 } }, wants[] = { { "-.slice", NULL, 0 } };
	const struct systemd_property properties[] = {
		{ "CPUWeight", SYSTEMD_U64, .number = 321 },
		{ "CPUQuotaPerSecUSec", SYSTEMD_U64, .number = 250000 },
		{ "AllowedCPUs", SYSTEMD_BYTES, .bytes = cpus, .count = COUNT(cpus) },
		{ "DevicePolicy", SYSTEMD_STRING, .text = "strict" },
		{ "DeviceAllow", SYSTEMD_PAIRS, .items = devices, .count = COUNT(devices) },
		{ "IOReadBandwidthMax", SYSTEMD_LIMITS, .items = disks, .count = 0 },
		{ "After", SYSTEMD_STRINGS, .items = wants, .count = COUNT(wants) },
		{ "TimeoutStopUSec", SYSTEMD_U64, .number = 1000000 },
		{ "SendSIGHUP", SYSTEMD_BOOL, .number = 1 },
		{ "KillSignal", SYSTEMD_I32, .number = SIGINT },
	};
	cleanup_free char *cgroup = NULL;

	need_systemd(fixture);
	start(fixture, properties, COUNT(properties), &cgroup);
	if (fixture->host.layout != CGROUP_V2 || fixture->systemd.user)
		return;
	assert_limit(fixture, cgroup, "", "", "cpu.weight", "321\n");
	assert_limit(fixture, cgroup, "", "", "cpu.max", "25000 100000\n");
	assert_limit(fixture, cgroup, "", "", "cpuset.cpus", "0\n");
}

static void test_errors(void **state)
{
	struct fixture *fixture = *state;
	const struct systemd_property wrong_name = { "NoSuchProperty", SYSTEMD_U64, .number = 1 };
	const struct systemd_property wrong_type = { "MemoryMax", SYSTEMD_STRING, .text = "1" };
	const struct systemd_item pids = { .number = (uint64_t)fixture->pid };
	const struct systemd_property only_pids = { "PIDs", SYSTEMD_U32S, .items = &pids, .count = 1 };
	const struct systemd nowhere = { .helper = "/nonexistent/caisson-systemd" };
	cleanup_free char *cgroup = NULL;
	struct error err = ERROR_INIT;

	need_systemd(fixture);
	assert_true(systemd_start_scope(&fixture->systemd, "no-suffix", &only_pids, 1, NULL, &err) < 0);
	assert_non_null(strstr(err.text, "no-suffix"));
	assert_true(systemd_start_scope(&fixture->systemd, fixture->unit, NULL, 0, NULL, &err) < 0);
	start(fixture, NULL, 0, &cgroup);
	assert_int_equal(systemd_start_scope(&fixture->systemd, fixture->unit, &only_pids, 1, NULL, &err), -EEXIST);
	assert_true(systemd_set_properties(&fixture->systemd, fixture->unit, &wrong_name, 1, &err) < 0);
	assert_non_null(strstr(err.text, "NoSuchProperty"));
	assert_true(systemd_set_properties(&fixture->systemd, fixture->unit, &wrong_type, 1, &err) < 0);
	assert_int_equal(systemd_stop(&nowhere, fixture->unit, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/caisson-systemd"));
}

static void test_no_systemd(void **state)
{
	struct fixture *fixture = *state;
	struct error err = ERROR_INIT;

	if (systemd_available(&fixture->systemd) || !helper)
		skip();
	assert_int_equal(systemd_stop(&fixture->systemd, fixture->unit, &err), -EHOSTDOWN);
	assert_non_null(strstr(err.text, "cannot reach"));
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { REAL(test_life), REAL(test_types), REAL(test_errors),
					    REAL(test_no_systemd) };

	helper = argc > 1 ? argv[1] : NULL;
	return cmocka_run_group_tests_name("systemd", tests, NULL, NULL);
}
