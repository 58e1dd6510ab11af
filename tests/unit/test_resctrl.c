/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux/resctrl.h, and what the runtime does with it for linux.intelRdt, on a
 * plain directory: no kernel without such a processor has the file system.
 * What the kernel would put into a new group is missing there: files are made
 * by their first writing, and taken away before a group is removed.
 */
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
#include "linux/resctrl.h"
#include "runtime/internal.h"

static const char base[] = "{\"ociVersion\":\"1.3.0\",\"root\":{\"path\":\"rootfs\"},\"linux\":{\"intelRdt\":%s}}";

struct tree {
	char root[32];
	struct runtime runtime;
};

static int tree_make(void **state)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	if (!tree)
		return -1;
	*state = tree;
	strcpy(tree->root, "/tmp/caisson-resctrl.XXXXXX");
	tree->runtime.resctrl = tree->root;
	return mkdtemp(tree->root) ? 0 : -1;
}

static int tree_remove(void **state)
{
	struct tree *tree = *state;
	int ret = file_remove_all(AT_FDCWD, tree->root, NULL);

	free(tree);
	return ret;
}

static char *path_of(const struct tree *tree, const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", tree->root, name);
	return path;
}

static void put(const struct tree *tree, const char *name, const char *text)
{
	cleanup_close int fd = open(path_of(tree, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
}

static void make_class(const struct tree *tree, const char *name, const char *schemata)
{
	char file[64];

	assert_int_equal(mkdir(path_of(tree, name), 0755), 0);
	(void)snprintf(file, sizeof(file), "%s/mon_groups", name);
	assert_int_equal(mkdir(path_of(tree, file), 0755), 0);
	(void)snprintf(file, sizeof(file), "%s/schemata", name);
	put(tree, file, schemata);
}

static void expect(const struct tree *tree, const char *name, const char *text)
{
	cleanup_free char *found = NULL;

	assert_int_equal(file_read(AT_FDCWD, path_of(tree, name), 4096, &found, NULL, NULL), 0);
	assert_string_equal(found, text);
}

static bool exists(const struct tree *tree, const char *name)
{
	return access(path_of(tree, name), F_OK) == 0;
}

static void groups_are_made_once_and_removed(void **state)
{
	const struct tree *tree = *state;
	cleanup_free char *group = strdup(path_of(tree, "c"));
	struct error err = ERROR_INIT;

	assert_false(resctrl_is_class(group));
	assert_int_equal(resctrl_make(group, &err), 1);
	assert_int_equal(resctrl_make(group, &err), 0);
	assert_int_equal(resctrl_make(path_of(tree, "no/c"), &err), -ENOENT);
	assert_int_equal(resctrl_add(group, 4711, &err), 0);
	expect(tree, "c/tasks", "4711");
	assert_false(resctrl_is_empty(group));
	put(tree, "c/tasks", "\n");
	assert_true(resctrl_is_empty(group));
	assert_int_equal(resctrl_remove(group, &err), -ENOTEMPTY);
	assert_int_equal(unlink(path_of(tree, "c/tasks")), 0);
	assert_int_equal(resctrl_remove(group, &err), 0);
	assert_int_equal(resctrl_remove(group, &err), 0);
	assert_false(exists(tree, "c"));
}

static void a_refused_schema_comes_with_the_kernels_words(void **state)
{
	const struct tree *tree = *state;
	struct error err = ERROR_INIT;

	make_class(tree, "c", "");
	assert_int_equal(resctrl_set(tree->root, path_of(tree, "c"), "L3:0=f\nMB:0=20", &err), 0);
	expect(tree, "c/schemata", "L3:0=f\nMB:0=20\n");
	assert_int_equal(mkdir(path_of(tree, "info"), 0755), 0);
	put(tree, "info/last_cmd_status", "mask f has non-consecutive 1-bits\n");
	assert_int_equal(resctrl_set(tree->root, path_of(tree, "nosuch"), "L3:0=f", &err), -ENOENT);
	assert_non_null(strstr(err.text, "; mask f has non-consecutive 1-bits"));
}

static void schemata_are_compared_by_what_they_mean(void **state)
{
	static const char *const same[] = { "L3:0=7ff;1=0",	 "MB:0=100",  "L3:1=0",	     "L3:1=000;0=7FF",
					    "MB:1=20\nL3:0=7ff", " L3:0=7ff", "L2:0=1;1=ff", "" };
	static const char *const other[] = { "L3:0=7fe",  "L3:2=1", "MB:0=10", "SMBA:0=1", "L3:0=7ff;1=1",
					     "L3:0=7ff7", "L3:0",   "MB",      "3:0=7ff",  "L3:0=7ff\nMB:0=1" };
	const struct tree *tree = *state;
	struct error err = ERROR_INIT;

	make_class(tree, "c", "    MB:0=100;1= 20\n    L3:0=7ff;1=0\n    L2:0=00001;1=000ff\n");
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		assert_int_equal(resctrl_check(path_of(tree, "c"), same[i], &err), 0);
	for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++)
		assert_int_equal(resctrl_check(path_of(tree, "c"), other[i], &err), -EINVAL);
	assert_int_equal(resctrl_check(path_of(tree, "nosuch"), "L3:0=1", &err), -ENOENT);
}

/* A container called "id" with this intelRdt. */
static void begin(struct container *container, const char *rdt)
{
	char text[512];
	int length = snprintf(text, sizeof(text), base, rdt);

	*container = (struct container){ .dir_fd = -1, .id = strdup("id") };
	assert_int_equal(oci_spec_parse(text, (size_t)length, &container->spec, NULL), 0);
}

static int apply(const struct tree *tree, struct container *container, const char *rdt, struct error *err)
{
	begin(container, rdt);
	*err = ERROR_INIT;
	return container_apply_rdt(&tree->runtime, container, 42, err);
}

static void a_class_of_its_own_goes_with_the_container(void **state)
{
	const struct tree *tree = *state;
	struct container container;
	struct error err;

	assert_int_equal(apply(tree, &container,
			       "{\"l3CacheSchema\":\"L3:0=f\\nMB:0=5\\nL2:0=1\",\"memBwSchema\":\"MB:0=20\","
			       "\"schemata\":[\"L3:1=3\"]}",
			       &err),
			 0);
	expect(tree, "id/schemata", "L3:0=f\nL2:0=1\nMB:0=20\nL3:1=3\n");
	expect(tree, "id/tasks", "42");
	assert_int_equal(container_join_rdt(&container, 43, &err), 0);
	expect(tree, "id/tasks", "43");
	assert_int_equal(unlink(path_of(tree, "id/tasks")), 0);
	assert_int_equal(unlink(path_of(tree, "id/schemata")), 0);
	assert_int_equal(container_remove_rdt(&tree->runtime, &container, &err), 0);
	assert_false(exists(tree, "id"));
	container_close(&container);
}

static void without_schemata_none_are_written(void **state)
{
	const struct tree *tree = *state;
	struct container container;
	struct error err;

	assert_int_equal(apply(tree, &container, "{}", &err), 0);
	assert_false(exists(tree, "id/schemata"));
	container_close(&container);
	/* What a creation that was killed has left is found by the id. */
	assert_int_equal(unlink(path_of(tree, "id/tasks")), 0);
	begin(&container, "{}");
	assert_int_equal(container_remove_rdt(&tree->runtime, &container, &err), 0);
	assert_false(exists(tree, "id"));
	container_close(&container);
}

static void a_class_that_was_there_stays(void **state)
{
	const struct tree *tree = *state;
	struct container container;
	struct error err;

	make_class(tree, "gold", "L3:0=f;1=f\n");
	assert_int_equal(apply(tree, &container, "{\"closID\":\"gold\",\"enableMonitoring\":true}", &err), 0);
	expect(tree, "gold/tasks", "42");
	expect(tree, "gold/mon_groups/id/tasks", "42");
	assert_int_equal(unlink(path_of(tree, "gold/mon_groups/id/tasks")), 0);
	assert_int_equal(container_remove_rdt(&tree->runtime, &container, &err), 0);
	assert_false(exists(tree, "gold/mon_groups/id"));
	assert_true(exists(tree, "gold"));
	container_close(&container);
	assert_int_equal(apply(tree, &container, "{\"closID\":\"gold\",\"l3CacheSchema\":\"L3:0=F\"}", &err), 0);
	expect(tree, "gold/schemata", "L3:0=f;1=f\n");
	container_close(&container);
	assert_int_equal(apply(tree, &container, "{\"closID\":\"gold\",\"l3CacheSchema\":\"L3:0=7\"}", &err), -EINVAL);
	assert_non_null(strstr(err.text, "do not match \"L3:0=7\""));
	container_close(&container);
	assert_int_equal(apply(tree, &container, "{\"closID\":\"tin\"}", &err), -ENOENT);
	assert_non_null(strstr(err.text, "must be pre-created"));
	assert_false(exists(tree, "tin"));
	container_close(&container);
}

static void a_named_class_that_was_made_goes_when_it_is_empty(void **state)
{
	const struct tree *tree = *state;
	struct container container;
	struct error err;

	assert_int_equal(apply(tree, &container, "{\"closID\":\"new\",\"schemata\":\"L3:0=3\"}", &err), 0);
	expect(tree, "new/schemata", "L3:0=3\n");
	assert_int_equal(container_remove_rdt(&tree->runtime, &container, &err), 0); /* another one is in it */
	assert_true(exists(tree, "new"));
	put(tree, "new/tasks", "");
	assert_int_equal(container_remove_rdt(&tree->runtime, &container, &err), -ENOTEMPTY);
	container_close(&container);
}

static void the_default_class_is_the_root(void **state)
{
	const struct tree *tree = *state;
	struct container container;
	struct error err;

	assert_int_equal(mkdir(path_of(tree, "mon_groups"), 0755), 0);
	put(tree, "schemata", "L3:0=f\n");
	assert_int_equal(apply(tree, &container, "{\"closID\":\"/\",\"enableMonitoring\":true}", &err), 0);
	expect(tree, "tasks", "42");
	expect(tree, "mon_groups/id/tasks", "42");
	assert_int_equal(unlink(path_of(tree, "mon_groups/id/tasks")), 0);
	assert_int_equal(container_remove_rdt(&tree->runtime, &container, &err), 0);
	assert_false(exists(tree, "mon_groups/id"));
	expect(tree, "schemata", "L3:0=f\n");
	container_close(&container);
}

static void an_update_writes_what_is_given(void **state)
{
	struct tree *tree = *state;
	struct container container;
	struct error err;

	assert_int_equal(apply(tree, &container, "{\"l3CacheSchema\":\"L3:0=f\"}", &err), 0);
	assert_int_equal(runtime_update_rdt(&tree->runtime, &container, "L3:0=3", "MB:0=50", &err), 0);
	expect(tree, "id/schemata", "L3:0=3\nMB:0=50\n");
	assert_int_equal(runtime_update_rdt(&tree->runtime, &container, NULL, "L3:0=3", &err), -EINVAL);
	assert_int_equal(runtime_update_rdt(&tree->runtime, &container, NULL, "MB:0=3\nL3:0=1", &err), -EINVAL);
	assert_int_equal(runtime_update_rdt(&tree->runtime, &container, "", NULL, &err), 0);
	expect(tree, "id/schemata", "L3:0=3\nMB:0=50\n");
	container_close(&container);
}

static void an_update_gives_a_class_to_who_has_none(void **state)
{
	struct tree *tree = *state;
	struct container container;
	struct error err = ERROR_INIT;

	begin(&container, "null");
	container.pid = 42;
	container.bundle = strdup("/b");
	container.rootfs = strdup("/r");
	container.created = strdup("now");
	container.dir_fd = open(tree->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(runtime_update_rdt(&tree->runtime, &container, "L3:0=3", NULL, &err), 0);
	expect(tree, "id/schemata", "L3:0=3\n");
	expect(tree, "id/tasks", "42");
	for (char **read_again[] = { &container.bundle, &container.rootfs, &container.created,
				     &container.intel_rdt_path },
		  ***at = read_again;
	     at < read_again + 4; at++) {
		free(**at);
		**at = NULL;
	}
	assert_int_equal(container_read_state(&tree->runtime, &container, &err), 0);
	assert_string_equal(container.intel_rdt_path, path_of(tree, "id"));
	assert_true(container.intel_rdt_made);
	container_close(&container);
}

static void nothing_is_touched_that_nobody_asked_for(void **state)
{
	const struct tree *tree = *state;
	struct container container;
	struct error err = ERROR_INIT;

	begin(&container, "null");
	assert_int_equal(container_apply_rdt(&tree->runtime, &container, 42, &err), 0);
	assert_int_equal(container_join_rdt(&container, 43, &err), 0);
	assert_int_equal(container_remove_rdt(&tree->runtime, &container, &err), 0);
	assert_false(exists(tree, "id"));
	assert_false(exists(tree, "tasks"));
	container_close(&container);
}

#define IN_TREE(test) cmocka_unit_test_setup_teardown(test, tree_make, tree_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_TREE(groups_are_made_once_and_removed),
		IN_TREE(a_refused_schema_comes_with_the_kernels_words),
		IN_TREE(schemata_are_compared_by_what_they_mean),
		IN_TREE(a_class_of_its_own_goes_with_the_container),
		IN_TREE(without_schemata_none_are_written),
		IN_TREE(a_class_that_was_there_stays),
		IN_TREE(a_named_class_that_was_made_goes_when_it_is_empty),
		IN_TREE(the_default_class_is_the_root),
		IN_TREE(an_update_writes_what_is_given),
		IN_TREE(an_update_gives_a_class_to_who_has_none),
		IN_TREE(nothing_is_touched_that_nobody_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
