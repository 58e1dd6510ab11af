/* SPDX-License-Identifier: Apache-2.0 */
/* What the paradigms pv and vm open, and what they make of a specification for the shell. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/vm.h"

#define MIB (INT64_C(1) << 20)

/* A directory with a program, its companions, a kernel, a disk and things to mount; state/ is the container's. */
struct place {
	char top[40];
	char self[64];
	struct oci_spec spec;
	struct paradigm_setup setup;
	struct error err;
	struct str config;
};

static void put(const struct place *place, const char *name, mode_t mode, size_t size)
{
	char path[96];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", place->top, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
}

static int place_make(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	char path[96];

	if (!place)
		return -1;
	*state = place;
	strcpy(place->top, "/tmp/caisson-prepare.XXXXXX");
	if (!mkdtemp(place->top))
		return -1;
	(void)snprintf(place->self, sizeof(place->self), "%s/caisson-oci", place->top);
	put(place, "caisson-vmm", 0755, 1);
	put(place, "caisson-init", 0755, 1);
	put(place, "qemu", 0755, 1);
	put(place, "kernel", 0644, 1);
	put(place, "disk", 0644, 1 << 20);
	put(place, "small", 0644, 10);
	put(place, "large", 0644, (1 << 20) + 1);
	(void)snprintf(path, sizeof(path), "%s/state", place->top);
	if (mkdir(path, 0700) < 0)
		return -1;
	place->setup.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(path, sizeof(path), "%s/directory", place->top);
	return mkdir(path, 0755);
}

static int place_remove(void **state)
{
	struct place *place = *state;
	int ret;

	close(place->setup.dir_fd);
	oci_spec_free(&place->spec);
	str_free(&place->config);
	ret = file_remove_all(AT_FDCWD, place->top, NULL);
	free(place);
	return ret;
}

/* more: further members of config.json, in which @ stands for the directory; QEMU is a file that nobody runs. */
static void describe(struct place *place, const char *more)
{
	static const char common[] =
		"{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"hostname\":\"h\",\"process\":{\"terminal\":true,"
		"\"cwd\":\"/w\",\"args\":[\"sh\"],\"user\":{\"uid\":7,\"gid\":7},\"capabilities\":{\"effective\":["
		"\"CAP_SYS_ADMIN\"],\"bounding\":[\"CAP_SYS_ADMIN\"],\"permitted\":[\"CAP_SYS_ADMIN\"]}},"
		"\"vm\":{\"hypervisor\":{\"path\":\"@/qemu\"},\"kernel\":{\"path\":\"@/kernel\",\"initrd\":\"@/"
		"small\"},"
		"\"image\":{\"path\":\"@/disk\",\"format\":\"raw\"}}";

	oci_spec_free(&place->spec);
	str_free(&place->config);
	for (const char *parts[] = { common, more, NULL }, **part = parts; *part; part++) {
		for (const char *at = *part; *at; at++)
			str_printf(&place->config, *at == '@' ? "%s" : "%.1s", *at == '@' ? place->top : at);
	}
	str_append(&place->config, "}");
	if (oci_spec_parse(str_text(&place->config), place->config.length, &place->spec, &place->err) < 0)
		fail_msg("%s", place->err.text);
	place->setup = (struct paradigm_setup){
		.spec = &place->spec,
		.config = str_text(&place->config),
		.config_size = place->config.length,
		.id = "one",
		.bundle = place->top,
		.rootfs = place->top,
		.dir = place->top,
		.dir_fd = place->setup.dir_fd,
		.cache_fd = -1,
		.self = place->self,
		.rootfs_fd = -1,
	};
	(void)unlinkat(place->setup.dir_fd, "vmm", 0);
}

static int prepare(struct place *place, const struct paradigm *paradigm, const char *more)
{
	describe(place, more);
	return paradigm->prepare(&place->setup, &place->err);
}

/* 0, or skips where mounts cannot be made. */
static void must(struct place *place, int ret)
{
	if (ret == -EPERM || ret == -ENOSYS) {
		print_message("%s\n", place->err.text);
		skip();
	}
	if (ret < 0)
		fail_msg("%s", place->err.text);
}

/* The configuration that caisson-vmm would read: it is told its number. */
static void read_config(struct place *place, struct arena *arena, struct vm_config *config)
{
	const struct oci_strings *args = &place->spec.process.args;
	cleanup_free char *text = NULL;
	size_t size;

	assert_int_equal(args->count, 3);
	assert_string_equal(args->items[0], "caisson-vmm");
	assert_string_equal(args->items[1], "--config");
	assert_int_equal(lseek(atoi(args->items[2]), 0, SEEK_SET), 0);
	assert_int_equal(file_read_fd(atoi(args->items[2]), 1 << 16, &text, &size, &place->err), 0);
	if (vm_config_read(text, size, arena, config, &place->err) < 0)
		fail_msg("%s", place->err.text);
}

static bool is_kept(const struct place *place, int fd)
{
	for (size_t i = 0; i < place->setup.fds_count; i++) {
		if (place->setup.fds[i] == fd)
			return fd > 2 && (fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	return false;
}

#define NETWORK ",\"linux\":{\"namespaces\":[{\"type\":\"network\"}]}"

static void the_monitor_gets_descriptors(void **state)
{
	struct place *place = *state;
	struct arena arena = { .head = NULL };
	cleanup_free char *oci = NULL;
	struct vm_config config;
	int last;

	must(place,
	     prepare(place, &paradigm_pv,
		     ",\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\"},{\"destination\":\"/a\",\"type\":"
		     "\"bind\",\"source\":\"@/small\"},{\"destination\":\"/b\",\"type\":\"bind\",\"source\":"
		     "\"directory\",\"options\":[\"rbind\",\"ro\"]},{\"destination\":\"/dev/shm\",\"type\":\"bind\","
		     "\"source\":\"/nowhere\"},{\"destination\":\"/dev/init\",\"type\":\"bind\",\"source\":"
		     "\"@/caisson-init\"}]" NETWORK));
	read_config(place, &arena, &config);
	assert_true(config.engine == VM_ENGINE_QEMU && config.kind == VM_KIND_PV && config.kvm == -1);
	assert_true(is_kept(place, config.kernel) && is_kept(place, config.initrd) && is_kept(place, config.oci));
	assert_true(is_kept(place, config.control) && is_kept(place, config.sync) && is_kept(place, config.console));
	assert_true(is_kept(place, config.memory_events));
	assert_int_equal(faccessat(place->setup.dir_fd, paradigm_pv.memory_events, F_OK, 0), 0);
	assert_true(config.disks_count == 1 && config.disks[0].chain_count == 1);
	assert_true(is_kept(place, config.disks[0].chain[0].fd) && !config.disks[0].read_only);
	/* The guest has its own caisson-init. */
	assert_true(config.files_count == 1 && config.files[0].mount == 1 && is_kept(place, config.files[0].fd));
	assert_true(config.shares_count == 1 && config.shares[0].mount == 2 && config.shares[0].read_only);
	assert_int_equal(faccessat(config.shares[0].fd, ".", W_OK, 0), -1); /* read-only by its mount */
	/* The whole configuration, as it was written. */
	assert_int_equal(lseek(config.oci, 0, SEEK_SET), 0);
	assert_int_equal(file_read_fd(config.oci, 1 << 16, &oci, NULL, NULL), 0);
	assert_string_equal(oci, str_text(&place->config));
	last = config.kernel;
	paradigm_pv.release(&place->setup);
	assert_int_equal(fcntl(last, F_GETFD), -1);
	assert_int_equal(place->setup.rootfs_fd, -1);
	arena_free(&arena);
}

static bool has_mount(const struct oci_spec *spec, const char *destination)
{
	for (size_t i = 0; i < spec->mounts_count; i++) {
		if (strcmp(spec->mounts[i].destination, destination) == 0)
			return true;
	}
	return false;
}

static void the_shell_is_the_monitors(void **state)
{
	struct place *place = *state;
	const struct oci_spec *spec = &place->spec;
	const struct oci_linux *linux_ = &spec->linux_;

	must(place,
	     prepare(place, &paradigm_vm,
		     ",\"hooks\":{\"startContainer\":[{\"path\":\"/h\"}],\"poststop\":[{\"path\":\"/h\"}]},"
		     "\"linux\":{\"sysctl\":{\"net.x\":\"1\"},\"maskedPaths\":[\"/x\"],\"devices\":[{\"type\":\"c\","
		     "\"path\":\"/dev/d\",\"major\":1,\"minor\":3}],\"seccomp\":{\"defaultAction\":\"SCMP_ACT_KILL\"},"
		     "\"namespaces\":[{\"type\":\"network\"},{\"type\":\"pid\",\"path\":\"/proc/1/ns/pid\"}],"
		     "\"resources\":{\"memory\":{\"limit\":268435456,\"swap\":-1},\"pids\":{\"limit\":5}}}"));
	assert_true(place->setup.rootfs_fd >= 0 && spec->root.readonly);
	assert_true(spec->process.no_new_privileges && spec->process.terminal && spec->process.user.uid == 0);
	assert_true(spec->process.capabilities.set && spec->process.capabilities.effective == 0 &&
		    spec->process.capabilities.bounding == 0 && spec->process.capabilities.permitted == 0);
	assert_string_equal(spec->process.cwd, "/");
	assert_true(has_mount(spec, "/usr") && has_mount(spec, "/dev/pts") && has_mount(spec, place->top));
	for (int i = 0; i <= OCI_NS_UTS; i++)
		assert_true(linux_->namespaces[i].set && !linux_->namespaces[i].path);
	assert_null(spec->hostname);
	assert_true(!linux_->seccomp.set && linux_->sysctl.count == 0 && linux_->masked_paths.count == 0 &&
		    linux_->devices_count == 0);
	assert_true(spec->hooks.start_container.count == 0 && spec->hooks.poststop.count == 1);
	/* The guest's memory, and what QEMU takes; threads, not the guest's processes. */
	assert_true(linux_->resources.memory.limit.value > 256 * MIB + 256 * MIB &&
		    linux_->resources.memory.swap.value == -1);
	assert_true(linux_->resources.pids_limit.value > 5);
	paradigm_vm.release(&place->setup);
}

static void who_shares_files_may_act_for_their_owners(void **state)
{
	struct place *place = *state;

	must(place,
	     prepare(place, &paradigm_pv,
		     ",\"mounts\":[{\"destination\":\"/b\",\"type\":\"bind\",\"source\":\"@/directory\"}]" NETWORK));
	assert_true(place->spec.process.capabilities.effective != 0);
	assert_true(place->spec.process.capabilities.effective == place->spec.process.capabilities.bounding);
	assert_true(!(place->spec.process.capabilities.effective & (UINT64_C(1) << 21))); /* CAP_SYS_ADMIN */
	paradigm_pv.release(&place->setup);
}

#define BIND(source) ",\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"" source "\"}]"
#define DISK(text)   ",\"annotations\":{\"org.caisson.vm.disk\":\"" text "\"}"

static void what_cannot_be_leaves_nothing(void **state)
{
	static const struct {
		const struct paradigm *paradigm;
		const char *more, *words;
		int code;
	} bad[] = {
		{ &paradigm_vm, BIND("@/directory"), "volumes need --isolation pv", ENOTSUP },
		{ &paradigm_pv, BIND("@/large"), "too large to be copied", EFBIG },
		{ &paradigm_pv, BIND("@/nothing"), "cannot open the source", ENOENT },
		{ &paradigm_pv, BIND("/dev/null"), "neither a file nor a directory", ENOTSUP },
		{ &paradigm_pv, DISK("/dev/null"), "is no disk", EINVAL },
		{ &paradigm_pv, DISK("@/small,format=qcow2"), "qcow2", EINVAL },
		{ &paradigm_vm, DISK("@/disk,ro"), "cannot be read-only", ENOTSUP },
		{ &paradigm_pv, DISK("@/no such"), "cannot open the disk", ENOENT },
	};
	struct place *place = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int before = dup(0), after, ret = prepare(place, bad[i].paradigm, bad[i].more);

		if (ret != -bad[i].code || !strstr(place->err.text, bad[i].words))
			fail_msg("%s: %d: %s", bad[i].more, ret, place->err.text);
		assert_int_equal(place->setup.fds_count, 0);
		close(before);
		after = dup(0);
		assert_int_equal(before, after); /* no descriptor is left */
		close(after);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_monitor_gets_descriptors, place_make, place_remove),
		cmocka_unit_test_setup_teardown(the_shell_is_the_monitors, place_make, place_remove),
		cmocka_unit_test_setup_teardown(who_shares_files_may_act_for_their_owners, place_make, place_remove),
		cmocka_unit_test_setup_teardown(what_cannot_be_leaves_nothing, place_make, place_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
