/* SPDX-License-Identifier: Apache-2.0 */
/* The contract between the runtime and a paradigm, with one made for it. */
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"
#include "paradigm/container/container.h"
#include "runtime/internal.h"
#include "runtime/paradigms.h"

static const char config[] = "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"rootfs\"},\"process\":{\"cwd\":\"/\","
			     "\"args\":[\"asked\"],\"user\":{\"uid\":0,\"gid\":0}},"
			     "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"}]}}";

/* What the paradigm was called with. */
static struct {
	int released, cleaned;
	int answer[2]; /* become() writes there */
	bool refuse, find_nothing;
} seen;

static int fake_prepare(struct paradigm_setup *setup, struct error *err)
{
	const char **args = arena_alloc(&setup->spec->arena, 2, sizeof(*args));

	assert_non_null(args);
	assert_int_equal(setup->config_size, strlen(config));
	assert_memory_equal(setup->config, config, setup->config_size);
	assert_string_equal(setup->id, "one");
	assert_true(faccessat(setup->dir_fd, ".", F_OK, 0) == 0);
	assert_true(setup->cache_fd >= 0);
	if (seen.refuse)
		return error_set(err, ENOTSUP, "not on this day");
	args[0] = "given";
	setup->spec->process.args = (struct oci_strings){ .count = 1, .items = args };
	setup->fds[setup->fds_count++] = fcntl(seen.answer[1], F_DUPFD_CLOEXEC, 10);
	setup->own = strdup("mine");
	return 0;
}

static void fake_release(struct paradigm_setup *setup)
{
	seen.released++;
	close(setup->fds[0]);
	assert_string_equal(setup->own, "mine");
	free(setup->own);
}

/* Asked of the specification as the user wrote it, or as prepare() left it. */
static void fake_clean(const struct oci_spec *spec)
{
	const char *argument = spec->process.args.items[0];

	seen.cleaned++;
	assert_true(strcmp(argument, "asked") == 0 || strcmp(argument, "given") == 0);
}

static int fake_find(const struct oci_process *process, char **program, struct error *err)
{
	if (seen.find_nothing)
		return error_set(err, ENOENT, "it is not there");
	*program = strdup(process->args.items[0]);
	return *program ? 0 : -ENOMEM;
}

/* Its end closes the control socket, as execve(2) would. */
static int fake_become(const struct paradigm_setup *setup, const struct oci_process *process, const char *program,
		       int control, struct error *err)
{
	(void)process;
	(void)control;
	(void)err;
	(void)!write(setup->fds[0], program, strlen(program));
	_exit(7);
}

static int fake_exec(const struct paradigm_exec *exec, pid_t *pid, struct error *err)
{
	(void)err;
	*pid = fork();
	if (*pid == 0)
		_exit(strstr(exec->process_json, "\"further\"") ? 9 : 1);
	return *pid < 0 ? -errno : 0;
}

static const struct paradigm fake = {
	.name = "fake",
	.prepare = fake_prepare,
	.release = fake_release,
	.clean = fake_clean,
	.find = fake_find,
	.become = fake_become,
	.exec = fake_exec,
};
static const struct paradigm *const table[] = { &paradigm_container, &fake, NULL };

struct place {
	char directory[40];
	struct runtime runtime;
};

static int place_make(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	char path[64];

	if (!place)
		return -1;
	*state = place;
	memset(&seen, 0, sizeof(seen));
	strcpy(place->directory, "/tmp/caisson-paradigm.XXXXXX");
	if (!mkdtemp(place->directory) || pipe2(seen.answer, O_CLOEXEC) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/rootfs", place->directory);
	if (mkdir(path, 0755) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/state", place->directory);
	if (runtime_open(&place->runtime, path, NULL) < 0)
		return -1;
	place->runtime.paradigms = table;
	return 0;
}

static int place_remove(void **state)
{
	struct place *place = *state;
	int ret = file_remove_all(AT_FDCWD, place->directory, NULL);

	runtime_close(&place->runtime);
	close(seen.answer[0]);
	close(seen.answer[1]);
	free(place);
	return ret;
}

static void is_found_by_name(void **state)
{
	struct runtime runtime = { .paradigms = table };
	struct container container = { .dir_fd = -1 };
	struct oci_pair annotation = { PARADIGM_ANNOTATION, "fake" };
	struct error err = ERROR_INIT;

	(void)state;
	assert_ptr_equal(paradigm_find(table, "fake"), &fake);
	assert_null(paradigm_find(table, "fak"));
	assert_null(paradigm_find(NULL, "fake"));
	assert_ptr_equal(paradigm_find(NULL, "container"), &paradigm_container);
	assert_int_equal(container_choose_paradigm(&runtime, &container, &err), 0);
	assert_ptr_equal(container.paradigm, &paradigm_container);
	container.paradigm = NULL;
	runtime.paradigm = "fake";
	assert_int_equal(container_choose_paradigm(&runtime, &container, &err), 0);
	assert_ptr_equal(container.paradigm, &fake);
	/* The annotation is nearer to the container than the program's name. */
	container.paradigm = NULL;
	runtime.paradigm = "container";
	container.spec.annotations = (struct oci_pairs){ .count = 1, .items = &annotation };
	assert_int_equal(container_choose_paradigm(&runtime, &container, &err), 0);
	assert_ptr_equal(container.paradigm, &fake);
	container.paradigm = NULL;
	annotation.value = "hovercraft";
	assert_int_equal(container_choose_paradigm(&runtime, &container, &err), -EINVAL);
	assert_non_null(strstr(err.text, "\"hovercraft\""));
	assert_non_null(strstr(err.text, "container and fake"));
}

/* Containers cannot be made by everybody, nor under every tool. */
static void need_containers(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd >= 0)
		close(fd);
	if (geteuid() == 0 && fd >= 0)
		return;
	print_message("needs root and pidfd_open (valgrind 3.19 hides it)\n");
	skip();
}

static int run(struct place *place, struct container *container, struct error *err)
{
	struct runtime_create_options options = RUNTIME_CREATE_OPTIONS_INIT;

	options.bundle = place->directory;
	options.config_text = config;
	options.paradigm = &fake;
	return runtime_run(&place->runtime, "one", &options, container, err);
}

static void prepares_before_and_becomes_inside(void **state)
{
	struct place *place = *state;
	struct container container, again;
	cleanup_free char *text = NULL;
	struct error err = ERROR_INIT;
	char answer[16] = "";
	int status;

	need_containers();
	if (run(place, &container, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(seen.released, 1);
	assert_int_equal(read(seen.answer[0], answer, sizeof(answer) - 1), 5);
	assert_string_equal(answer, "given");
	assert_int_equal(waitpid(container.pid, &status, 0), container.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	/* What was asked for is what is remembered. */
	assert_int_equal(file_read(container.dir_fd, "config.json", 1 << 16, &text, NULL, NULL), 0);
	assert_string_equal(text, config);
	assert_int_equal(container_load(&place->runtime, "one", 0, &again, &err), 0);
	assert_ptr_equal(again.paradigm, &fake);
	assert_string_equal(again.spec.process.args.items[0], "asked");
	container_close(&again);
	/* A program without it leaves its hands off. */
	place->runtime.paradigms = NULL;
	assert_int_equal(container_load(&place->runtime, "one", 0, &again, &err), -ENOTSUP);
	place->runtime.paradigms = table;
	assert_int_equal(seen.cleaned, 0);
	assert_int_equal(runtime_delete(&place->runtime, &container, true, &err), 0);
	assert_int_equal(seen.cleaned, 1);
	container_close(&container);
}

static void what_it_refuses_leaves_nothing(void **state)
{
	struct place *place = *state;
	struct container container;
	struct error err = ERROR_INIT;
	char **ids;
	size_t count;

	seen.refuse = true;
	assert_int_equal(run(place, &container, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "not on this day"));
	assert_int_equal(seen.released, 0);
	assert_int_equal(seen.cleaned, 0);
	assert_int_equal(runtime_list(&place->runtime, &ids, &count, NULL), 0);
	assert_int_equal(count, 0);
	runtime_ids_free(ids, count);
	assert_int_equal(faccessat(AT_FDCWD, place->runtime.root, F_OK, 0), 0);
}

static void what_fails_later_is_cleaned(void **state)
{
	struct place *place = *state;
	struct container container;
	struct error err = ERROR_INIT;

	need_containers();
	seen.find_nothing = true;
	assert_int_equal(run(place, &container, &err), -ENOENT);
	assert_int_equal(seen.released, 1);
	assert_int_equal(seen.cleaned, 1);
}

/* Of a creation that was killed there is a configuration, and nobody knows whose. */
static void what_was_killed_is_cleaned(void **state)
{
	struct place *place = *state;
	char path[96];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/state/one", place->directory);
	assert_int_equal(file_mkdir_all(AT_FDCWD, path, 0755, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/state/one/config.json", place->directory);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_write_all(fd, config, strlen(config)), 0);
	assert_int_equal(runtime_sweep(&place->runtime, "one", NULL), 0);
	assert_int_equal(seen.cleaned, 1);
	assert_true(faccessat(AT_FDCWD, path, F_OK, 0) < 0);
}

/* exec through the paradigm: into something that runs, which is this program. */
static void exec_is_its_own(void **state)
{
	struct place *place = *state;
	struct runtime_exec_options options = RUNTIME_EXEC_OPTIONS_INIT;
	struct container container = { .dir_fd = -1, .paradigm = &fake, .pid = getpid() };
	struct oci_process process = { .set = true, .cwd = "/", .args = { 1, (const char *[]){ "further", NULL } } };
	struct process_stat stat;
	struct error err = ERROR_INIT;
	pid_t pid;
	int status;

	assert_int_equal(process_stat_read(getpid(), &stat), 0);
	container.pid_start = stat.start;
	container.id = (char *)"one";
	container.dir = place->directory;
	container.dir_fd = open(place->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	options.process = &process;
	assert_int_equal(runtime_exec(&place->runtime, &container, &options, &pid, &err), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 9);
	close(container.dir_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_found_by_name),
		cmocka_unit_test_setup_teardown(prepares_before_and_becomes_inside, place_make, place_remove),
		cmocka_unit_test_setup_teardown(what_it_refuses_leaves_nothing, place_make, place_remove),
		cmocka_unit_test_setup_teardown(what_fails_later_is_cleaned, place_make, place_remove),
		cmocka_unit_test_setup_teardown(what_was_killed_is_cleaned, place_make, place_remove),
		cmocka_unit_test_setup_teardown(exec_is_its_own, place_make, place_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
