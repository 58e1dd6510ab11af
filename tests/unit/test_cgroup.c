/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real cgroups below a path that only this process uses, in each layout that the host can show: as it is, and in
 * private mount namespaces as pure v1 and pure v2.  Every cgroup is removed again, also when a test fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/cgroup.h"
#include "linux/cgroup_private.h"

/* No controller: in the hybrid layout the v2 tree, nothing on v1. */
static const char *const NONE[] = { "", NULL };

static const char *const SOME[] = { "", "pids", "memory", "freezer", "cpuset", NULL };

struct fixture {
	struct cgroup_host host;
	char parent[256];
	bool usable;
};

static void assert_ok(int ret, const struct error *err)
{
	if (ret < 0)
		fail_msg("%d: %s", ret, err->text);
}

/* Root works at the top of the tree; a user beside the own cgroup, if that part of a v2 tree was delegated. */
static bool choose_parent(struct fixture *fixture)
{
	char full[4096], *slash;
	int v2 = cgroup_host_find(&fixture->host, "");

	(void)snprintf(fixture->parent, sizeof(fixture->parent), "caisson-test-%d", (int)getpid());
	if (geteuid() == 0 || fixture->host.count == 0)
		return fixture->host.count > 0;
	if (fixture->host.layout != CGROUP_V2 || cgroup_host_read_own(&fixture->host, NULL) < 0)
		return false;
	(void)snprintf(full, sizeof(full), "%s%s", fixture->host.hierarchies[v2].mount,
		       fixture->host.hierarchies[v2].own);
	slash = strrchr(full, '/');
	*slash = '\0';
	(void)snprintf(fixture->parent, sizeof(fixture->parent), "%s/caisson-test-%d",
		       full + strlen(fixture->host.hierarchies[v2].mount) + 1, (int)getpid());
	return access(full, W_OK) == 0;
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct error err = ERROR_INIT;

	assert_non_null(fixture);
	assert_ok(cgroup_host_read(&fixture->host, &err), &err);
	fixture->usable = choose_parent(fixture);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup = CGROUP_INIT;
	struct error err = ERROR_INIT;
	int ret = 0;

	if (cgroup_open(&fixture->host, fixture->parent, &cgroup, NULL) == 0) {
		(void)cgroup_kill(&cgroup, SIGKILL, NULL);
		while (waitpid(-1, NULL, 0) > 0)
			;
		ret = cgroup_remove(&cgroup, &err);
		if (ret < 0)
			print_error("%s\n", err.text);
	}
	cgroup_close(&cgroup);
	cgroup_host_free(&fixture->host);
	free(fixture);
	return ret;
}

/* Skips unless cgroups can be made here. */
static void need_cgroups(const struct fixture *fixture)
{
	if (!fixture->usable) {
		print_message("skipped: needs cgroups, and root or a delegated part of a v2 tree\n");
		skip();
	}
}

static const char *path_of(const struct fixture *fixture, const char *name, char path[static 400])
{
	(void)snprintf(path, 400, "%s/%s", fixture->parent, name);
	return path;
}

/* In how many hierarchies. */
static int exists(const struct fixture *fixture, const char *name)
{
	char full[4096];
	int count = 0;

	for (size_t i = 0; i < fixture->host.count; i++) {
		(void)snprintf(full, sizeof(full), "%s/%s/%s", fixture->host.hierarchies[i].mount, fixture->parent,
			       name);
		count += access(full, F_OK) == 0;
	}
	return count;
}

static void create(struct fixture *fixture, const char *name, const char *const *controllers, struct cgroup *cgroup)
{
	struct error err = ERROR_INIT;
	char path[400];

	assert_ok(cgroup_create(&fixture->host, path_of(fixture, name, path), controllers, 0, false, cgroup, &err),
		  &err);
}

/* A child that has entered the cgroup by itself and then sleeps; children of its own as many as asked for. */
static pid_t sleeper(const struct cgroup *cgroup, int children)
{
	int doors[CGROUP_HIERARCHIES_MAX], ready[2];
	struct error err = ERROR_INIT;
	int count = cgroup_doors_open(cgroup, false, doors, &err);
	pid_t pid;
	char byte;

	assert_ok(count, &err);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int ret = cgroup_doors_enter(doors, count);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (ret == 0 && children-- > 0)
			if (fork() == 0)
				break;
		byte = (char)-ret;
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	for (int i = 0; i <= children; i++) {
		assert_int_equal(read(ready[0], &byte, 1), 1);
		assert_int_equal(byte, 0);
	}
	close(ready[0]);
	for (int i = 0; i < count; i++)
		close(doors[i]);
	return pid;
}

static int reap(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* ---- parsers ---- */

static const char HYBRID[] =
	"22 27 0:21 / /proc rw,relatime - proc proc rw\n"
	"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
	"23 27 0:22 / /sys rw,relatime shared:7 master:1 - sysfs sysfs rw\n"
	"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
	"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	"33 31 0:30 / /sys/fs/cgroup/a\\040b rw - cgroup cgroup rw,xattr,memory,release_agent=/x\\054pids\n"
	"34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup none rw,name=systemd\n"
	"35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

static void test_parse_hybrid(void **state)
{
	struct cgroup_host host;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(cgroup_host_parse_mounts(HYBRID, &host, &err), &err);
	assert_int_equal(host.layout, CGROUP_HYBRID);
	assert_int_equal(host.count, 4);
	assert_int_equal(cgroup_host_find(&host, "cpuacct"), 0);
	assert_int_equal(cgroup_host_find(&host, "cpu"), 0);
	assert_int_equal(cgroup_host_find(&host, "memory"), 1);
	assert_string_equal(host.hierarchies[1].mount, "/sys/fs/cgroup/a b");
	assert_string_equal(host.hierarchies[1].controllers, "memory");
	assert_int_equal(cgroup_host_find(&host, "name=systemd"), 2);
	assert_int_equal(cgroup_host_find(&host, ""), 3);
	assert_int_equal(cgroup_host_find(&host, "pids"), -1);
	assert_int_equal(cgroup_host_find(&host, "cpu,cpuacct"), -1);

	assert_ok(cgroup_host_parse_own("9:name=systemd:/init.scope\n4:memory:/a:b\n1:cpu,cpuacct:/\n"
					"7:freezer:/not/mounted\n0::/x y\nrubbish\n5:\n",
					&host, &err),
		  &err);
	assert_string_equal(host.hierarchies[0].own, "/");
	assert_string_equal(host.hierarchies[1].own, "/a:b");
	assert_string_equal(host.hierarchies[2].own, "/init.scope");
	assert_string_equal(host.hierarchies[3].own, "/x y");
	cgroup_host_free(&host);
}

/* What has been mounted over is listed and cannot be reached: cgroup2 over the whole of /sys/fs/cgroup. */
static void test_parse_overmounted(void **state)
{
	char text[2048];
	struct cgroup_host host;
	struct error err = ERROR_INIT;

	(void)state;
	(void)snprintf(text, sizeof(text), "%s%s", HYBRID, "40 31 0:32 / /sys/fs/cgroup rw - cgroup2 none rw\n");
	assert_ok(cgroup_host_parse_mounts(text, &host, &err), &err);
	assert_int_equal(host.layout, CGROUP_V2);
	assert_int_equal(host.count, 1);
	assert_string_equal(host.hierarchies[0].mount, "/sys/fs/cgroup");
	cgroup_host_free(&host);

	/* One directory of it only, and by a file system that is no cgroup. */
	(void)snprintf(text, sizeof(text), "%s%s", HYBRID, "40 35 0:50 / /sys/fs/cgroup/unified rw - tmpfs none rw\n");
	assert_ok(cgroup_host_parse_mounts(text, &host, &err), &err);
	assert_int_equal(host.layout, CGROUP_V1);
	assert_int_equal(host.count, 3);
	cgroup_host_free(&host);
}

/* A container's view: the mounts show only a part of each tree, and "/" is no mount that is listed. */
static void test_parse_bind_mounted(void **state)
{
	static const char TEXT[] = "50 49 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
				   "51 49 0:32 / /mnt/memory rw - cgroup cgroup rw,memory\n"
				   "52 49 0:33 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
	struct cgroup_host host;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(cgroup_host_parse_mounts(TEXT, &host, &err), &err);
	assert_int_equal(host.count, 2);
	assert_string_equal(host.hierarchies[0].mount, "/mnt/memory");
	assert_ok(cgroup_host_parse_own("3:pids:/docker/abc/x\n4:memory:/docker/abc\n", &host, &err), &err);
	assert_string_equal(host.hierarchies[0].own, "/docker/abc");
	assert_string_equal(host.hierarchies[1].own, "/x");
	cgroup_host_free(&host);
}

static void test_parse_keys(void **state)
{
	static const char TEXT[] =
		"oom_kill_disable 0\noom 3\noom_kill 18446744073709551615\nbad 18446744073709551616\n"
		"max max\nnone\nlast 7";
	uint64_t value = 0;

	(void)state;
	assert_int_equal(cgroup_parse_key(TEXT, "oom", &value), 0);
	assert_true(value == 3);
	assert_int_equal(cgroup_parse_key(TEXT, "oom_kill", &value), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(cgroup_parse_key(TEXT, "last", &value), 0);
	assert_true(value == 7);
	assert_int_equal(cgroup_parse_key(TEXT, "max", &value), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(cgroup_parse_key(TEXT, "bad", &value), -ERANGE);
	assert_int_equal(cgroup_parse_key(TEXT, "none", &value), -ENOENT);
	assert_int_equal(cgroup_parse_key(TEXT, "kill", &value), -ENOENT);
	assert_int_equal(cgroup_parse_key("", "x", &value), -ENOENT);
	assert_int_equal(cgroup_parse_number("12 13\n", &value), 0);
	assert_true(value == 12);
	assert_int_equal(cgroup_parse_number("-1\n", &value), -EINVAL);
	assert_int_equal(cgroup_parse_number("\n", &value), -EINVAL);
	assert_int_equal(cgroup_parse_number("000000000000000000000000000000001", &value), -EINVAL);
}

static void test_parse_rubbish(void **state)
{
	static const char *const TEXTS[] = {
		"",
		"\n\n\n",
		"1",
		"1 1 0:1 / / rw - cgroup none rw,memory", /* its own parent */
		"1 2 0:1 / / rw - cgroup none rw,memory\n2 1 0:1 / / rw - cgroup none rw,pids\n",
		"1 2 0:1 / relative rw - cgroup none rw,memory\n",
		"1 2 0:1 / /x rw cgroup none rw,memory\n",
		"1 2 0:1 / /x rw - cgroup none\n",
		"1 2 0:1 / /x\\04 rw - cgroup none rw,\n",
		"x 2 0:1 / /x rw - cgroup none rw,memory\n",
	};
	struct cgroup_host host;
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(TEXTS) / sizeof(*TEXTS); i++) {
		assert_ok(cgroup_host_parse_mounts(TEXTS[i], &host, &err), &err);
		assert_true(host.count <= 1);
		cgroup_host_free(&host);
	}
}

/* ---- real cgroups ---- */

static void test_own(void **state)
{
	struct fixture *fixture = *state;
	struct error err = ERROR_INIT;

	need_cgroups(fixture);
	assert_ok(cgroup_host_read_own(&fixture->host, &err), &err);
	for (size_t i = 0; i < fixture->host.count; i++) {
		assert_non_null(fixture->host.hierarchies[i].own);
		assert_non_null(fixture->host.hierarchies[i].root);
	}
}

static void test_paths(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	char path[400];

	need_cgroups(fixture);
	assert_int_equal(cgroup_create(&fixture->host, "../x", NULL, 0, false, &cgroup, &err), -EINVAL);
	assert_int_equal(cgroup_create(&fixture->host, "/", NULL, 0, false, &cgroup, &err), -EINVAL);
	assert_int_equal(cgroup_open(&fixture->host, path_of(fixture, "none", path), &cgroup, &err), -ENOENT);
	assert_ok(cgroup_create(&fixture->host, path_of(fixture, "./p//q/", path), SOME, 0, false, &cgroup, &err),
		  &err);
	assert_string_equal(strrchr(cgroup.path, 'p'), "p/q");
	assert_true(exists(fixture, "p/q"));
	assert_ok(cgroup_remove(&cgroup, &err), &err);
	assert_ok(cgroup_remove(&cgroup, &err), &err);
	assert_false(exists(fixture, "p/q"));
	cgroup_close(&cgroup);
	assert_ok(cgroup_open(&fixture->host, "/", &cgroup, &err), &err);
	assert_int_equal(cgroup_remove(&cgroup, &err), -EINVAL);
	cgroup_close(&cgroup);
}

static void test_enter_and_kill(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	cleanup_free pid_t *pids = NULL;
	size_t count;
	pid_t pid;
	char line[300], path[64];
	cleanup_free char *own = NULL;

	need_cgroups(fixture);
	create(fixture, "enter", NULL, &cgroup);
	pid = sleeper(&cgroup, 0);
	assert_ok(cgroup_procs(&cgroup, &pids, &count, &err), &err);
	assert_int_equal(count, 1);
	assert_int_equal(pids[0], pid);
	/* It is there in every hierarchy, the kernel says. */
	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	assert_ok(file_read(AT_FDCWD, path, 65536, &own, NULL, &err), &err);
	(void)snprintf(line, sizeof(line), ":/%s/enter\n", fixture->parent);
	count = 0;
	for (const char *at = own; (at = strstr(at, line)); at++)
		count++;
	assert_int_equal(count, fixture->host.count);

	assert_int_equal(cgroup_remove(&cgroup, &err), -EBUSY);
	assert_ok(cgroup_kill(&cgroup, SIGKILL, &err), &err);
	assert_int_equal(reap(pid), SIGKILL);
	assert_ok(cgroup_remove(&cgroup, &err), &err);
	cgroup_close(&cgroup);
}

static void test_exclusive(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup, again;
	struct error err = ERROR_INIT;
	char path[400];
	int directories;
	pid_t pid;

	need_cgroups(fixture);
	create(fixture, "exclusive", SOME, &cgroup);
	directories = exists(fixture, "exclusive");
	path_of(fixture, "exclusive", path);
	assert_ok(cgroup_create(&fixture->host, path, SOME, CGROUP_CREATE_EXCLUSIVE, false, &again, &err), &err);
	cgroup_close(&again);
	pid = sleeper(&cgroup, 0);
	assert_int_equal(cgroup_create(&fixture->host, path, NULL, CGROUP_CREATE_EXCLUSIVE, false, &again, &err),
			 -EEXIST);
	assert_non_null(strstr(err.text, "container's cgroup is not empty: 1 process(es) found"));
	/* What the failed call made is gone, what was there is not. */
	assert_int_equal(exists(fixture, "exclusive"), directories);
	assert_ok(cgroup_kill(&cgroup, SIGTERM, &err), &err);
	assert_int_equal(reap(pid), SIGTERM);
	cgroup_close(&cgroup);
}

static void test_signal_tree(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup, child;
	struct error err = ERROR_INIT;
	cleanup_free pid_t *pids = NULL;
	size_t count;
	pid_t pid, below;

	need_cgroups(fixture);
	create(fixture, "tree", SOME, &cgroup);
	/* v2 allows processes in inner cgroups as long as no controller is on for the children. */
	create(fixture, "tree/below", fixture->host.layout == CGROUP_V2 ? NONE : SOME, &child);
	pid = sleeper(&cgroup, 5);
	below = sleeper(&child, 0);
	assert_ok(cgroup_procs(&cgroup, &pids, &count, &err), &err);
	assert_int_equal(count, 7);
	assert_ok(cgroup_kill(&cgroup, SIGUSR1, &err), &err);
	assert_int_equal(reap(pid), SIGUSR1);
	assert_int_equal(reap(below), SIGUSR1);
	/* The grandchildren have nobody here to reap them; they are gone from the cgroup all the same. */
	assert_ok(cgroup_remove(&cgroup, &err), &err);
	assert_false(exists(fixture, "tree"));
	cgroup_close(&cgroup);
	cgroup_close(&child);
}

/* For a while; then that many must be there, and no more. */
static void wait_for_processes(const struct cgroup *cgroup, size_t wanted)
{
	struct error err = ERROR_INIT;
	size_t count = 0;

	for (int tries = 0; tries < 6000; tries++) {
		cleanup_free pid_t *pids = NULL;

		assert_ok(cgroup_procs(cgroup, &pids, &count, &err), &err);
		if (count >= wanted)
			break;
		(void)usleep(10000);
	}
	(void)usleep(20000);
	{
		cleanup_free pid_t *pids = NULL;

		assert_ok(cgroup_procs(cgroup, &pids, &count, &err), &err);
	}
	assert_int_equal(count, wanted);
}

static void answer_by_fork(int signal)
{
	(void)signal;
	(void)fork();
}

/* A process that answers the signal by a fork, whose child would, too. */
static void test_signal_once(void **state)
{
	struct fixture *fixture = *state;
	struct sigaction action = { .sa_handler = answer_by_fork }, saved;
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	bool frozen = false;
	pid_t pid;

	need_cgroups(fixture);
	create(fixture, "once", SOME, &cgroup);
	assert_int_equal(sigaction(SIGUSR1, &action, &saved), 0);
	pid = sleeper(&cgroup, 1);
	assert_int_equal(sigaction(SIGUSR1, &saved, NULL), 0);
	/* Frozen before, it stays so; then each of the two has one child. */
	assert_ok(cgroup_freeze(&cgroup, true, &err), &err);
	assert_ok(cgroup_kill(&cgroup, SIGUSR1, &err), &err);
	assert_ok(cgroup_frozen(&cgroup, &frozen, &err), &err);
	assert_true(frozen);
	assert_ok(cgroup_freeze(&cgroup, false, &err), &err);
	wait_for_processes(&cgroup, 4);
	assert_ok(cgroup_kill(&cgroup, SIGUSR1, &err), &err);
	wait_for_processes(&cgroup, 8);
	assert_ok(cgroup_frozen(&cgroup, &frozen, &err), &err);
	assert_false(frozen);
	assert_ok(cgroup_kill(&cgroup, SIGKILL, &err), &err);
	assert_int_equal(reap(pid), SIGKILL);
	assert_ok(cgroup_remove(&cgroup, &err), &err);
	cgroup_close(&cgroup);
}

static void test_freeze(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	bool frozen = true;
	pid_t pid;

	need_cgroups(fixture);
	create(fixture, "freeze", SOME, &cgroup);
	pid = sleeper(&cgroup, 3);
	assert_ok(cgroup_frozen(&cgroup, &frozen, &err), &err);
	assert_false(frozen);
	assert_ok(cgroup_freeze(&cgroup, true, &err), &err);
	assert_ok(cgroup_frozen(&cgroup, &frozen, &err), &err);
	assert_true(frozen);
	/* A frozen process does not act on signals; of v2's freezer a deadly one is no matter. */
	assert_int_equal(kill(pid, SIGTERM), 0);
	(void)usleep(20000);
	if (fixture->host.layout != CGROUP_V2)
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_ok(cgroup_freeze(&cgroup, false, &err), &err);
	assert_int_equal(reap(pid), SIGTERM);
	/* Killing all gets at the frozen ones too. */
	assert_ok(cgroup_freeze(&cgroup, true, &err), &err);
	assert_ok(cgroup_kill(&cgroup, SIGKILL, &err), &err);
	assert_ok(cgroup_remove(&cgroup, &err), &err);
	cgroup_close(&cgroup);
}

static void test_attach(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup, opened;
	struct error err = ERROR_INIT;
	cleanup_free pid_t *pids = NULL;
	size_t count;
	pid_t pid;
	char path[400];

	need_cgroups(fixture);
	create(fixture, "attach", NONE, &cgroup);
	cgroup_close(&cgroup);
	create(fixture, "attach", SOME, &cgroup); /* adds to what is there */
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	assert_ok(cgroup_open(&fixture->host, path_of(fixture, "attach", path), &opened, &err), &err);
	assert_ok(cgroup_attach(&opened, pid, &err), &err);
	assert_ok(cgroup_procs(&opened, &pids, &count, &err), &err);
	assert_int_equal(count, 1);
	assert_int_equal(pids[0], pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(reap(pid), SIGKILL);
	assert_int_equal(cgroup_attach(&opened, pid, &err), -ESRCH);
	assert_ok(cgroup_remove(&opened, &err), &err);
	assert_int_equal(cgroup_procs(&opened, &pids, &count, &err), -ENOENT);
	cgroup_close(&opened);
	cgroup_close(&cgroup);
}

static void test_files(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	cleanup_free char *text = NULL;
	uint64_t value;
	const char *pids = fixture->host.layout == CGROUP_V2 ? "" : "pids";

	need_cgroups(fixture);
	create(fixture, "files", SOME, &cgroup);
	assert_int_equal(cgroup_write(&cgroup, "no-such", "x", "1", &err), -ENOENT);
	assert_int_equal(cgroup_write(&cgroup, pids, "no-such", "1", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/files/no-such"));
	if (cgroup_read_u64(&cgroup, pids, "pids.max", &value, &err) == -ENOENT) {
		cgroup_close(&cgroup);
		print_message("skipped: no pids controller in this view\n");
		skip();
	}
	assert_true(value == UINT64_MAX);
	assert_ok(cgroup_write(&cgroup, pids, "pids.max", "23", &err), &err);
	assert_ok(cgroup_read_u64(&cgroup, pids, "pids.max", &value, &err), &err);
	assert_int_equal(value, 23);
	assert_int_equal(cgroup_write(&cgroup, pids, "pids.max", "rubbish", &err), -EINVAL);
	assert_ok(cgroup_read(&cgroup, pids, "pids.max", &text, &err), &err);
	assert_string_equal(text, "23\n");
	cgroup_close(&cgroup);
}

static void test_v2_dir(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup;
	int dir;

	need_cgroups(fixture);
	create(fixture, "dir", NONE, &cgroup);
	dir = cgroup_v2_dir(&cgroup);
	if (cgroup_host_find(&fixture->host, "") < 0) {
		assert_int_equal(dir, -1);
	} else {
		assert_true(dir >= 0);
		assert_int_equal(faccessat(dir, "cgroup.procs", F_OK, 0), 0);
		assert_int_equal(cgroup_v2_dir(&cgroup), dir);
	}
	cgroup_close(&cgroup);
}

/* The kernel takes no newline in a name: the parent that was made on the way goes again. */
static void test_rollback(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	char path[400];

	need_cgroups(fixture);
	path_of(fixture, "parent/a\nb", path);
	assert_int_equal(cgroup_create(&fixture->host, path, NULL, 0, false, &cgroup, &err), -EINVAL);
	assert_int_equal(exists(fixture, "parent"), 0);
	assert_int_equal(exists(fixture, ""), 0);
}

static bool has_memory(const struct fixture *fixture, const struct cgroup *cgroup)
{
	cleanup_free char *text = NULL;
	bool v2 = fixture->host.layout == CGROUP_V2;

	return cgroup_read(cgroup, v2 ? "" : "memory", v2 ? "memory.max" : "memory.limit_in_bytes", &text, NULL) == 0;
}

static void limit_memory(const struct fixture *fixture, const struct cgroup *cgroup, const char *bytes)
{
	struct error err = ERROR_INIT;
	bool v2 = fixture->host.layout == CGROUP_V2;

	assert_ok(cgroup_write(cgroup, v2 ? "" : "memory", v2 ? "memory.max" : "memory.limit_in_bytes", bytes, &err),
		  &err);
	/* Without swap, if it is counted at all. */
	(void)cgroup_write(cgroup, v2 ? "" : "memory", v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes",
			   v2 ? "0" : bytes, NULL);
}

/* A child that has entered the cgroup and uses bytes of memory, then waits for release to be closed. */
static pid_t eater(const struct cgroup *cgroup, size_t bytes, const int release[2])
{
	int doors[CGROUP_HIERARCHIES_MAX], count = cgroup_doors_open(cgroup, false, doors, NULL);
	pid_t pid = fork();

	assert_true(count >= 0 && pid >= 0);
	if (pid == 0) {
		volatile char *memory;
		char byte;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(release[1]);
		if (cgroup_doors_enter(doors, count) < 0)
			_exit(2);
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (size_t i = 0; memory != MAP_FAILED && i < bytes; i += 4096)
			memory[i] = 1;
		_exit(read(release[0], &byte, 1) == 0 && memory != MAP_FAILED ? 0 : 1);
	}
	for (int i = 0; i < count; i++)
		close(doors[i]);
	return pid;
}

static void test_stats(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup;
	struct cgroup_stats stats = { .cpu_usage = 0 };
	struct error err = ERROR_INIT;
	int release[2];
	pid_t pid;

	need_cgroups(fixture);
	create(fixture, "stats", NULL, &cgroup);
	assert_int_equal(pipe2(release, O_CLOEXEC), 0);
	if (has_memory(fixture, &cgroup))
		limit_memory(fixture, &cgroup, "134217728");
	pid = eater(&cgroup, 32 << 20, release);
	for (int tries = 0; tries < 6000 && stats.memory_rss < 30 << 20; tries++) {
		cgroup_stats_free(&stats);
		(void)usleep(10000);
		assert_ok(cgroup_stats_read(&cgroup, &stats, &err), &err);
		if (!has_memory(fixture, &cgroup) && stats.cpu_usage > 0)
			break;
	}
	assert_true(stats.cpu_usage > 0);
	/* Version 1 guesses which of the two it was at each tick, of which there are few. */
	if (fixture->host.layout == CGROUP_V2)
		assert_true(stats.cpu_user + stats.cpu_system <= stats.cpu_usage + 1000000);
	if (has_memory(fixture, &cgroup)) {
		assert_in_range(stats.memory_rss, 30 << 20, 120 << 20);
		assert_in_range(stats.memory_usage, 30 << 20, 128 << 20);
		assert_true(stats.memory_limit == 134217728);
		assert_true(stats.swap_usage >= stats.memory_usage / 2);
		assert_true(stats.oom_kills == 0);
		assert_true(stats.pids_current == 1);
		assert_true(stats.pids_limit == UINT64_MAX);
	}
	if (cgroup_host_find(&fixture->host, "cpuacct") >= 0)
		assert_true(stats.cpu_per_cpu_count >= 1);
	cgroup_stats_free(&stats);
	close(release[0]);
	close(release[1]);
	assert_int_equal(reap(pid), 0);
	cgroup_close(&cgroup);
}

static void test_oom(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	struct pollfd poller = { .events = POLLIN | POLLPRI };
	uint64_t kills = 0;
	bool happened = true;
	int release[2];
	pid_t pid;

	need_cgroups(fixture);
	create(fixture, "oom", SOME, &cgroup);
	if (!has_memory(fixture, &cgroup)) {
		assert_true(cgroup_oom_open(&cgroup, &err) < 0);
		cgroup_close(&cgroup);
		print_message("skipped: no memory controller in this view\n");
		skip();
	}
	limit_memory(fixture, &cgroup, "16777216");
	poller.fd = cgroup_oom_open(&cgroup, &err);
	assert_ok(poller.fd, &err);
	assert_ok(cgroup_oom_read(&cgroup, poller.fd, &kills, &happened, &err), &err);
	assert_false(happened);
	assert_int_equal(poll(&poller, 1, 0), 0);

	assert_int_equal(pipe2(release, O_CLOEXEC), 0);
	pid = eater(&cgroup, 64 << 20, release);
	assert_int_equal(reap(pid), SIGKILL);
	close(release[0]);
	close(release[1]);
	for (happened = false; !happened;) {
		assert_int_equal(poll(&poller, 1, 60000), 1);
		assert_ok(cgroup_oom_read(&cgroup, poller.fd, &kills, &happened, &err), &err);
	}
	assert_int_equal(kills, 1);
	assert_ok(cgroup_read_key(&cgroup, fixture->host.layout == CGROUP_V2 ? "" : "memory",
				  fixture->host.layout == CGROUP_V2 ? "memory.events" : "memory.oom_control",
				  "oom_kill", &kills, &err),
		  &err);
	assert_int_equal(kills, 1);
	/* Once it is removed the caller learns that too. */
	assert_ok(cgroup_remove(&cgroup, &err), &err);
	assert_int_equal(cgroup_oom_read(&cgroup, poller.fd, &kills, &happened, &err), -ENOENT);
	close(poller.fd);
	cgroup_close(&cgroup);
}

/* In the hybrid layout the v2 tree is joined only by who asks: a migration there costs a grace period. */
static void test_hybrid_unasked(void **state)
{
	struct fixture *fixture = *state;
	const char *const pids[] = { "pids", NULL };
	struct cgroup cgroup;
	int v2 = cgroup_host_find(&fixture->host, "");

	need_cgroups(fixture);
	create(fixture, "unasked", pids, &cgroup);
	if (fixture->host.layout == CGROUP_HYBRID) {
		assert_int_equal(exists(fixture, "unasked"), 1);
		assert_int_equal(cgroup_v2_dir(&cgroup), -1);
	} else if (fixture->host.layout == CGROUP_V2) {
		assert_true(v2 >= 0 && cgroup_v2_dir(&cgroup) >= 0);
	}
	cgroup_close(&cgroup);
}

/* Of v2: controllers come from above, and not past processes. */
static void test_v2_controllers(void **state)
{
	struct fixture *fixture = *state;
	struct cgroup cgroup, child;
	struct error err = ERROR_INIT;
	const char *const pids[] = { "pids", "no-such-controller", NULL };
	cleanup_free char *text = NULL;
	char path[400];
	pid_t pid;

	need_cgroups(fixture);
	create(fixture, "a", NONE, &cgroup);
	if (fixture->host.layout != CGROUP_V2 || cgroup_read(&cgroup, "", "pids.max", &text, NULL) == 0) {
		cgroup_close(&cgroup);
		print_message("skipped: not v2, or all controllers are on by themselves\n");
		skip();
	}
	create(fixture, "a/b/c", pids, &child);
	if (cgroup_read(&child, "", "pids.max", &text, NULL) < 0) {
		cgroup_close(&cgroup);
		cgroup_close(&child);
		print_message("skipped: no pids controller in this view\n");
		skip();
	}
	assert_ok(cgroup_remove(&child, &err), &err);
	cgroup_close(&child);

	/* A process in the parent is in the way: of memory, and of pids alone as well. */
	create(fixture, "d", SOME, &child);
	pid = sleeper(&child, 0);
	cgroup_close(&cgroup);
	assert_int_equal(cgroup_create(&fixture->host, path_of(fixture, "d/e", path), pids, 0, false, &cgroup, &err),
			 -EBUSY);
	assert_non_null(strstr(err.text, "holds processes"));
	assert_int_equal(cgroup_create(&fixture->host, path_of(fixture, "d/e", path), SOME, 0, false, &cgroup, &err),
			 -EBUSY);
	assert_non_null(strstr(err.text, "holds processes"));
	assert_int_equal(exists(fixture, "d/e"), 0);
	assert_ok(cgroup_create(&fixture->host, path, SOME, 0, true, &cgroup, &err), &err);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(reap(pid), SIGKILL);
	cgroup_close(&cgroup);
	cgroup_close(&child);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int run_real(const char *name)
{
	const struct CMUnitTest tests[] = {
		REAL(test_own),		REAL(test_paths),	   REAL(test_enter_and_kill), REAL(test_exclusive),
		REAL(test_signal_tree), REAL(test_signal_once),	   REAL(test_freeze),	      REAL(test_attach),
		REAL(test_files),	REAL(test_v2_dir),	   REAL(test_rollback),	      REAL(test_stats),
		REAL(test_oom),		REAL(test_hybrid_unasked), REAL(test_v2_controllers),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

/* Runs the tests of real cgroups in a mount namespace of their own, in which make_view has changed the mounts. */
static int run_in_view(const char *name, int (*make_view)(void))
{
	pid_t pid;
	int status;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int failed = 1;

		if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
		    make_view() < 0)
			print_message("skipped: %s cannot be shown here: %s\n", name, strerror(errno));
		else
			failed = run_real(name);
		(void)fflush(NULL);
		_exit(failed == 0 ? 0 : 1);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}

static int view_v1(void)
{
	struct cgroup_host host;
	int v2, ret;

	if (cgroup_host_read(&host, NULL) < 0)
		return -1;
	v2 = cgroup_host_find(&host, "");
	ret = v2 < 0 ? 0 : umount2(host.hierarchies[v2].mount, MNT_DETACH);
	cgroup_host_free(&host);
	return ret;
}

static int view_v2(void)
{
	return mount("none", "/sys/fs/cgroup", "cgroup2", 0, NULL);
}

int main(void)
{
	const struct CMUnitTest parsers[] = {
		cmocka_unit_test(test_parse_hybrid),	   cmocka_unit_test(test_parse_overmounted),
		cmocka_unit_test(test_parse_bind_mounted), cmocka_unit_test(test_parse_keys),
		cmocka_unit_test(test_parse_rubbish),
	};
	int failed = cmocka_run_group_tests_name("parsers", parsers, NULL, NULL) + run_real("the host's layout");
	struct cgroup_host host;
	enum cgroup_layout layout;

	if (geteuid() != 0 || cgroup_host_read(&host, NULL) < 0)
		return failed;
	layout = host.layout;
	cgroup_host_free(&host);
	if (layout == CGROUP_HYBRID)
		failed += run_in_view("v1 alone", view_v1);
	if (layout != CGROUP_V2)
		failed += run_in_view("v2 alone", view_v2);
	return failed;
}
