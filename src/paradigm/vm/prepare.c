/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"
#include "linux/companion.h"
#include "linux/mount.h"
#include "paradigm/shell/seccomp.h"
#include "paradigm/vm/agent.h"
#include "paradigm/vm/choose.h"
#include "paradigm/vm/host/control.h"
#include "paradigm/vm/kernel.h"

enum {
	GUEST_CID = 3, /* the first that is nobody's; the guest is alone with its host */
	CONTROL_BACKLOG = 16,
};

int vm_keep(struct vm_plan *plan, int fd, struct error *err)
{
	struct paradigm_setup *setup = plan->setup;
	int kept = fd > STDERR_FILENO ? fd : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	if (kept != fd)
		close(fd);
	if (kept < 0)
		return error_errno(err, errno, "cannot keep a descriptor for the machine");
	if (setup->fds_count == PARADIGM_FDS_MAX) {
		close(kept);
		return error_set(err, E2BIG, "the machine needs too many descriptors");
	}
	setup->fds[setup->fds_count++] = kept;
	return kept;
}

static int choose_engine(struct vm_plan *plan, struct error *err)
{
	struct vm_config *config = &plan->config;
	struct vm_choice choice;
	int ret = vm_choose(plan->settings.engine, plan->settings.qemu, plan->setup->cache_fd, &choice, err);

	if (ret < 0)
		return ret;
	config->engine = choice.engine;
	config->machine = plan->settings.machine;
	if (choice.kvm >= 0)
		config->kvm = vm_keep(plan, take_fd(&choice.kvm), err);
	if (choice.qemu)
		config->qemu = arena_strdup(&plan->spec->arena, choice.qemu);
	if (choice.qemu && !config->qemu)
		ret = error_errno(err, ENOMEM, "cannot name the engine");
	else if (choice.engine == VM_ENGINE_KVM && config->kvm < 0)
		ret = config->kvm;
	else if (choice.engine == VM_ENGINE_KVM && config->machine)
		ret = error_set(err, ENOTSUP,
				"machine types are QEMU's: say --engine qemu, or add the annotation " VM_ANNOTATION
				"engine=qemu");
	vm_choice_close(&choice);
	return ret;
}

static int open_what_runs(struct vm_plan *plan, struct error *err)
{
	return plan->settings.snapshot ? vm_open_snapshot(plan, err) : vm_open_kernel(plan, err);
}

static int write_command_line(struct vm_plan *plan, struct error *err)
{
	const struct oci_strings *words = &plan->settings.parameters;
	cleanup_str struct str line = STR_INIT;

	str_printf(&line, "caisson.id=%s", plan->setup->id);
	for (size_t i = 0; i < words->count; i++)
		str_printf(&line, " %s", words->items[i]);
	plan->config.command_line = str_failed(&line) ? NULL : arena_strdup(&plan->spec->arena, str_text(&line));
	return plan->config.command_line ? 0 : error_errno(err, ENOMEM, "cannot write the kernel's command line");
}

/* Bound through the directory's descriptor: the path may be longer than an address. */
static int open_control(struct vm_plan *plan, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(077);
	int ret;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" CONTROL_SOCKET,
		       plan->setup->dir_fd);
	ret = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, CONTROL_BACKLOG) < 0
		      ? error_errno(err, errno, "cannot make the machine's control socket")
		      : 0;
	umask(mask);
	if (ret < 0) {
		if (fd >= 0)
			close(fd);
		return ret;
	}
	plan->config.control = vm_keep(plan, fd, err);
	return plan->config.control < 0 ? plan->config.control : 0;
}

/* A text that the monitor reads, and nobody writes any more. */
static int open_text(struct vm_plan *plan, const char *name, const char *text, size_t size, struct error *err)
{
	cleanup_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || file_write_all(fd, text, size) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return error_errno(err, errno, "cannot hand the configuration to the machine");
	return vm_keep(plan, take_fd(&fd), err);
}

/* On a read-only mount of its own: QEMU, which has a /proc, could otherwise write to what process 1 runs. */
static int open_program(struct vm_plan *plan, struct error *err)
{
	cleanup_free char *path = NULL;
	int ret = companion_find(plan->setup->self, "caisson-vmm", &path, err), fd;

	if (ret < 0)
		return ret;
	fd = mount_clone(AT_FDCWD, path, false, 0, NULL);
	if (fd >= 0 && mount_set_attributes(fd, "", MOUNT_ATTR_RDONLY, 0, false, err) < 0) {
		close(fd);
		return -err->code;
	}
	if (fd < 0)
		fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "cannot open %s", path) : vm_keep(plan, fd, err);
}

/* What is said of the machine into its state directory. */
static int open_state(struct vm_plan *plan, const char *name, struct error *err)
{
	const struct paradigm_setup *setup = plan->setup;
	int fd = openat(setup->dir_fd, name, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? error_errno(err, errno, "cannot make %s/%s", setup->dir, name) : vm_keep(plan, fd, err);
}

/* What does not depend on what is asked for. */
static int open_own(struct vm_plan *plan, struct error *err)
{
	struct paradigm_setup *setup = plan->setup;
	int ret = open_control(plan, err), fd;

	if (ret < 0)
		return ret;
	plan->prepared->program = open_program(plan, err);
	if (plan->prepared->program < 0)
		return plan->prepared->program;
	plan->config.console = open_state(plan, "console", err);
	if (plan->config.console < 0)
		return plan->config.console;
	plan->config.memory_events = open_state(plan, VM_MEMORY_EVENTS, err);
	if (plan->config.memory_events < 0)
		return plan->config.memory_events;
	plan->config.oci = open_text(plan, "config.json", setup->config, setup->config_size, err);
	if (plan->config.oci < 0)
		return plan->config.oci;
	/* Where become() will put the shell's socket. */
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	plan->prepared->sync = fd < 0 ? error_errno(err, errno, "cannot open /dev/null") : vm_keep(plan, fd, err);
	plan->config.sync = plan->prepared->sync;
	return plan->prepared->sync < 0 ? plan->prepared->sync : 0;
}

/* The sockets are made in a directory of the user's; what the guest says of their names is a number. */
static int open_vsock(struct vm_plan *plan, struct error *err)
{
	const char *path = plan->settings.vsock;
	struct stat st;

	if (!path)
		return 0;
	if (plan->config.engine != VM_ENGINE_KVM || plan->config.kind != VM_KIND_PV)
		return error_set(err, ENOTSUP,
				 "stream sockets to the guest (" VM_ANNOTATION
				 "vsock) need /dev/kvm and --isolation pv");
	if (stat(path, &st) < 0)
		return error_errno(err, errno, "cannot open the directory of sockets %s", path);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ENOTDIR, "%s is no directory for sockets", path);
	plan->config.vsock = vm_clone_directory(plan, AT_FDCWD, path, false, false, err);
	return plan->config.vsock < 0 ? plan->config.vsock : 0;
}

static int write_config(struct vm_plan *plan, struct error *err)
{
	cleanup_str struct str text = STR_INIT;

	vm_config_write(&plan->config, &text);
	if (str_failed(&text))
		return error_errno(err, ENOMEM, "cannot write the machine's configuration");
	plan->prepared->config = open_text(plan, "vm", str_text(&text), text.length, err);
	return plan->prepared->config < 0 ? plan->prepared->config : 0;
}

/* The guest would have to compile it at each start.  A serial line takes longer for it than that; and what cannot be
 * compiled is the guest's to say. */
static int open_filter(struct vm_plan *plan, struct error *err)
{
	struct vm_config *config = &plan->config;
	const struct oci_seccomp *profile = &plan->spec->linux_.seccomp;
	int fd;

	if (!profile->set || config->kind != VM_KIND_PV || config->files_count == VM_FILES_MAX)
		return 0;
	fd = seccomp_cache_open(profile, plan->setup->cache_fd, NULL);
	if (fd < 0)
		return 0;
	fd = vm_keep(plan, fd, err);
	if (fd < 0)
		return fd;
	config->files[config->files_count++] = (struct vm_file){ .fd = fd, .mount = AGENT_FILE_SECCOMP };
	return 0;
}

static void fill_config(struct vm_plan *plan, enum vm_kind kind)
{
	const struct vm_settings *settings = &plan->settings;
	struct vm_config *config = &plan->config;

	*config = VM_CONFIG_INIT;
	config->kind = kind;
	config->memory = settings->memory;
	config->vcpus = settings->vcpus;
	config->hugepages = settings->hugepages;
	config->pins_count = settings->pins_count;
	memcpy(config->pins, settings->pins, sizeof(config->pins));
	config->cid = GUEST_CID;
	config->boot_seconds = settings->boot_seconds;
}

static int prepare(enum vm_kind kind, struct vm_plan *plan, struct error *err)
{
	static int (*const parts[])(struct vm_plan * plan, struct error * err) = {
		choose_engine, open_what_runs,	write_command_line, open_own,	 vm_open_mounts,
		vm_open_disks, vm_open_network, vm_open_devices,    open_filter, open_vsock,
		write_config,  vm_make_shell,	vm_allow_devices,
	};
	int ret = vm_settings_read(plan->spec, &plan->settings, err);

	if (ret == 0)
		fill_config(plan, kind);
	for (size_t i = 0; ret == 0 && i < sizeof(parts) / sizeof(*parts); i++)
		ret = parts[i](plan, err);
	return ret;
}

int vm_prepare(enum vm_kind kind, struct paradigm_setup *setup, struct error *err)
{
	struct vm_prepared *prepared = calloc(1, sizeof(*prepared));
	struct vm_plan *plan = calloc(1, sizeof(*plan));
	int ret;

	if (!prepared || !plan) {
		free(prepared);
		free(plan);
		return error_errno(err, ENOMEM, "cannot prepare the machine");
	}
	*prepared = (struct vm_prepared){ .program = -1, .config = -1, .sync = -1 };
	*plan = (struct vm_plan){ .setup = setup, .spec = setup->spec, .prepared = prepared };
	setup->own = prepared;
	ret = prepare(kind, plan, err);
	free(plan);
	if (ret < 0) {
		vm_release(setup);
		vm_clean(setup->spec);
	}
	return ret;
}

void vm_release(struct paradigm_setup *setup)
{
	struct vm_prepared *prepared = setup->own;

	fds_close(setup->fds, setup->fds_count);
	setup->fds_count = 0;
	if (prepared && prepared->root_is_own) {
		close(setup->rootfs_fd);
		setup->rootfs_fd = -1;
	}
	free(prepared);
	setup->own = NULL;
}
