/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's files and checks, without any container: ids, state.json, the state document, validation, paths. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "runtime/internal.h"

static const char config[] = "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"rootfs\"},\"process\":{\"cwd\":\"/\","
			     "\"args\":[\"sh\"],\"user\":{\"uid\":0,\"gid\":0}},"
			     "\"annotations\":{\"k\":\"a \\\"quoted\\\" one\"}}";

/* A state directory with a runtime on it. */
struct place {
	char directory[32];
	struct runtime runtime;
};

static int place_make(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		return -1;
	*state = place;
	strcpy(place->directory, "/tmp/caisson-runtime.XXXXXX");
	return mkdtemp(place->directory) ? runtime_open(&place->runtime, place->directory, NULL) : -1;
}

static int place_remove(void **state)
{
	struct place *place = *state;
	int ret = file_remove_all(AT_FDCWD, place->directory, NULL);

	runtime_close(&place->runtime);
	free(place);
	return ret;
}

static void write_file(const struct container *container, const char *name, const char *text)
{
	cleanup_close int fd = openat(container->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
}

static void make(struct place *place, const char *id, const char *bundle)
{
	struct container container;

	assert_int_equal(container_directory_make(&place->runtime, id, &container, NULL), 0);
	container.pid = 4194303;
	container.pid_start = UINT64_C(18446744073709551615);
	container.bundle = strdup(bundle);
	container.rootfs = strdup("/b/rootfs");
	container.created = strdup("2026-11-21T04:55:36.000000001Z");
	container.owner = 4294967294U;
	container.cgroup_path = strdup("pods/x");
	write_file(&container, "config.json", config);
	assert_int_equal(container_prepare_state(&container, NULL), 0);
	assert_int_equal(container_commit_state(&container, NULL), 0);
	container_close(&container);
}

static void ids_are_file_names(void **state)
{
	static const char *const good[] = { "a", "A-b_c+d.e9", "..a", "0" };
	static const char *const bad[] = { "", ".", "..", "a/b", "../a", "a b", "a\nb", "\xc3\xa4", "a;b", "a:b" };
	char longest[300];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(container_id_is_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(container_id_is_valid(bad[i]));
	memset(longest, 'x', sizeof(longest));
	longest[256] = '\0';
	assert_false(container_id_is_valid(longest));
	longest[255] = '\0';
	assert_true(container_id_is_valid(longest));
}

static void state_survives_being_written(void **state)
{
	struct place *place = *state;
	struct container container;

	make(place, "one", "/some \"where\"");
	assert_int_equal(container_load(&place->runtime, "one", RUNTIME_LOCK, &container, NULL), 0);
	assert_int_equal(container.pid, 4194303);
	assert_true(container.pid_start == UINT64_MAX);
	assert_string_equal(container.bundle, "/some \"where\"");
	assert_string_equal(container.rootfs, "/b/rootfs");
	assert_int_equal(container.owner, 4294967294U);
	assert_string_equal(container.cgroup_path, "pods/x");
	assert_null(container.cgroup_unit);
	assert_false(container.systemd_cgroup);
	assert_string_equal(container.spec.oci_version, "1.2.0");
	container_close(&container);
}

static void names_that_are_no_utf8_are_refused(void **state)
{
	struct place *place = *state;
	struct container container;
	struct error err = ERROR_INIT;

	assert_int_equal(container_directory_make(&place->runtime, "one", &container, NULL), 0);
	container.bundle = strdup("/\xff");
	container.rootfs = strdup("/r");
	container.created = strdup("now");
	assert_int_equal(container_prepare_state(&container, &err), -EINVAL);
	assert_non_null(strstr(err.text, "UTF-8"));
	container_close(&container);
}

static void damaged_state_is_an_error(void **state)
{
	static const char *const damages[] = { "", "{", "[]", "null", "{\"pid\":\"x\"}", "{\"bundle\":1}" };
	struct place *place = *state;
	struct container container;

	for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
		struct error err = ERROR_INIT;
		char path[64];
		int fd;

		make(place, "one", "/b");
		(void)snprintf(path, sizeof(path), "%s/one/state.json", place->directory);
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_int_equal(file_write_all(fd, damages[i], strlen(damages[i])), 0);
		close(fd);
		assert_int_equal(container_load(&place->runtime, "one", 0, &container, &err), -EINVAL);
		assert_non_null(strstr(err.text, "damaged"));
		path[strlen(path) - strlen("/state.json")] = '\0';
		assert_int_equal(file_remove_all(AT_FDCWD, path, NULL), 0);
	}
}

static void missing_containers_do_not_exist(void **state)
{
	struct place *place = *state;
	struct container container;
	struct error err = ERROR_INIT;

	assert_int_equal(container_load(&place->runtime, "nobody", 0, &container, &err), -ENOENT);
	assert_non_null(strstr(err.text, "container does not exist"));
	assert_int_equal(container_load(&place->runtime, "../etc", 0, &container, &err), -EINVAL);
	/* A creation that was killed half-way is none yet, and does not stand in the way. */
	assert_int_equal(container_directory_make(&place->runtime, "half", &container, NULL), 0);
	container_close(&container);
	assert_int_equal(container_load(&place->runtime, "half", 0, &container, &err), -ENOENT);
	make(place, "half", "/b");
	assert_int_equal(container_directory_make(&place->runtime, "half", &container, &err), -EEXIST);
	assert_non_null(strstr(err.text, "container with given ID already exists"));
	container_close(&container);
}

static void the_list_is_sorted(void **state)
{
	struct place *place = *state;
	char **ids, path[64];
	size_t count;

	assert_int_equal(runtime_list(&place->runtime, &ids, &count, NULL), 0);
	assert_int_equal(count, 0);
	runtime_ids_free(ids, count);
	make(place, "b", "/b");
	make(place, "a", "/b");
	(void)snprintf(path, sizeof(path), "%s/no-container", place->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(runtime_list(&place->runtime, &ids, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_string_equal(ids[0], "a");
	assert_string_equal(ids[1], "b");
	runtime_ids_free(ids, count);
}

static void the_state_document_is_runcs(void **state)
{
	struct place *place = *state;
	struct container container;
	cleanup_free char *wide = NULL, *line = NULL;

	make(place, "one", "/b");
	assert_int_equal(container_load(&place->runtime, "one", 0, &container, NULL), 0);
	wide = container_state_json(&container, RUNTIME_RUNNING, 2);
	assert_string_equal(wide, "{\n  \"ociVersion\": \"1.2.0\",\n  \"id\": \"one\",\n  \"pid\": 4194303,\n"
				  "  \"status\": \"running\",\n  \"bundle\": \"/b\",\n  \"rootfs\": \"/b/rootfs\",\n"
				  "  \"created\": \"2026-11-21T04:55:36.000000001Z\",\n  \"annotations\": {\n"
				  "    \"k\": \"a \\\"quoted\\\" one\"\n  },\n  \"owner\": \"\"\n}");
	line = container_describe(&container, RUNTIME_STOPPED, "root", 0);
	assert_string_equal(
		line, "{\"ociVersion\":\"1.2.0\",\"id\":\"one\",\"pid\":0,\"status\":\"stopped\",\"bundle\":\"/b\","
		      "\"rootfs\":\"/b/rootfs\",\"created\":\"2026-11-21T04:55:36.000000001Z\","
		      "\"annotations\":{\"k\":\"a \\\"quoted\\\" one\"},\"owner\":\"root\"}");
	container_close(&container);
}

static void a_dead_process_means_stopped(void **state)
{
	struct place *place = *state;
	struct container container;
	enum runtime_status status;

	make(place, "one", "/b");
	assert_int_equal(container_load(&place->runtime, "one", 0, &container, NULL), 0);
	assert_int_equal(container_status(&place->runtime, &container, &status, NULL), 0);
	assert_int_equal(status, RUNTIME_STOPPED);
	/* Somebody else's process with our pid is not ours. */
	container.pid = getpid();
	container.pid_start = 1;
	assert_false(container_is_alive(&container));
	if (container_open_init(&container) != -ENOSYS) /* valgrind 3.19 hides pidfd_open */
		assert_int_equal(container_open_init(&container), -ESRCH);
	container_close(&container);
}

/* What validation says about a configuration: NULL for nothing. */
static void expect(const char *linux_and_more, const char *complaint)
{
	struct oci_spec spec;
	struct error err = ERROR_INIT;
	char text[2048];
	int ret;

	(void)snprintf(
		text, sizeof(text),
		"{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"/\"},\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"],"
		"\"user\":{\"uid\":0,\"gid\":0}},%s}",
		linux_and_more);
	assert_int_equal(oci_spec_parse(text, strlen(text), &spec, &err), 0);
	ret = container_validate(&spec, "/", false, &err);
	if (complaint) {
		assert_true(ret < 0);
		if (!strstr(err.text, complaint))
			fail_msg("\"%s\" does not say \"%s\"", err.text, complaint);
	} else {
		assert_int_equal(ret, 0);
	}
	oci_spec_free(&spec);
}

static void contradictions_are_refused(void **state)
{
	(void)state;
	expect("\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}", NULL);
	expect("\"hostname\":\"x\",\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}", "private UTS namespace");
	expect("\"hostname\":\"x\",\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"uts\"}]}", NULL);
	expect("\"linux\":{\"namespaces\":[],\"maskedPaths\":[\"/proc/x\"]}", "private MNT namespace");
	expect("\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}", "no uid mappings");
	expect("\"linux\":{\"namespaces\":[],\"uidMappings\":[{\"containerID\":0,\"hostID\":1,\"size\":1}]}",
	       "user namespace isn't enabled");
	expect("\"linux\":{\"namespaces\":[],\"timeOffsets\":{\"boottime\":{\"secs\":1,\"nanosecs\":0}}}",
	       "time namespace isn't enabled");
}

static void sysctls_need_their_namespace(void **state)
{
	(void)state;
	expect("\"linux\":{\"namespaces\":[],\"sysctl\":{\"net.ipv4.ip_forward\":\"1\"}}",
	       "not allowed in host network namespace");
	expect("\"linux\":{\"namespaces\":[{\"type\":\"network\"}],\"sysctl\":{\"net.ipv4.ip_forward\":\"1\"}}", NULL);
	expect("\"linux\":{\"namespaces\":[],\"sysctl\":{\"kernel.shmmax\":\"1\"}}", "hosts ipc namespace");
	expect("\"linux\":{\"namespaces\":[{\"type\":\"ipc\"}],\"sysctl\":{\"kernel/shmmax\":\"1\"}}", NULL);
	expect("\"linux\":{\"namespaces\":[{\"type\":\"ipc\"}],\"sysctl\":{\"kernel.panic\":\"1\"}}",
	       "not in a separate kernel namespace");
}

/* Where a configuration's cgroup is, or NULL when it is refused. */
static void place_cgroup(struct place *place, const char *wanted, bool systemd, const char *path, const char *unit)
{
	struct container container = { .dir_fd = -1, .id = strdup("id") };

	container.spec.linux_.cgroups_path = wanted;
	place->runtime.systemd_cgroup = systemd;
	if (path) {
		assert_int_equal(container_choose_cgroup(&place->runtime, &container, NULL), 0);
		assert_string_equal(container.cgroup_path + (*container.cgroup_path == '/'), path);
		if (unit)
			assert_string_equal(container.cgroup_unit, unit);
	} else {
		assert_true(container_choose_cgroup(&place->runtime, &container, NULL) < 0);
	}
	free(container.id);
	free(container.cgroup_path);
	free(container.cgroup_unit);
}

static void cgroups_are_where_they_are_wanted(void **state)
{
	struct place *place = *state;

	place_cgroup(place, "/a/b", false, "a/b", NULL);
	place_cgroup(place, "system.slice:runc:x", true, "system.slice/runc-x.scope", "runc-x.scope");
	place_cgroup(place, "a-b.slice:p:x", true, "a.slice/a-b.slice/p-x.scope", "p-x.scope");
	place_cgroup(place, "no colons", true, NULL, NULL);
	place_cgroup(place, "nosuffix:p:x", true, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_file_names),
		cmocka_unit_test_setup_teardown(state_survives_being_written, place_make, place_remove),
		cmocka_unit_test_setup_teardown(names_that_are_no_utf8_are_refused, place_make, place_remove),
		cmocka_unit_test_setup_teardown(damaged_state_is_an_error, place_make, place_remove),
		cmocka_unit_test_setup_teardown(missing_containers_do_not_exist, place_make, place_remove),
		cmocka_unit_test_setup_teardown(the_list_is_sorted, place_make, place_remove),
		cmocka_unit_test_setup_teardown(the_state_document_is_runcs, place_make, place_remove),
		cmocka_unit_test_setup_teardown(a_dead_process_means_stopped, place_make, place_remove),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(sysctls_need_their_namespace),
		cmocka_unit_test_setup_teardown(cgroups_are_where_they_are_wanted, place_make, place_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
