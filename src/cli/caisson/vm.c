/* SPDX-License-Identifier: Apache-2.0 */
/* caisson vm boot: a kernel without image, store or instance. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/caisson/caisson.h"
#include "linux/companion.h"
#include "linux/tun.h"
#include "linux/vfio.h"
#include "paradigm/vm/block/lock.h"
#include "paradigm/vm/choose.h"
#include "paradigm/vm/config.h"
#include "paradigm/vm/settings.h"

/* What the monitor may lock beside the guest's memory. */
static const uint64_t LOCKED = UINT64_C(64) << 20;

struct boot_flags {
	const char *kernel, *initrd, *command_line, *engine, *machine, *isolation, *hugepages, *counters;
	uint64_t memory; /* bytes */
	int64_t vcpus, timeout;
	struct option_list devices, disks, nets;
};

static const struct cli_option boot_options[] = {
	OPT_STRING("cmdline", 0, "string", struct boot_flags, command_line, "Command line of the kernel"),
	OPT_VALUE(OPTION_STRING, "counters", 0, "file", "file", struct boot_flags, counters,
		  "Write what was counted, exits by reason and others, as JSON to a file"),
	OPT_LIST("device", 0, "list", struct boot_flags, devices,
		 "Give the machine a PCI device of the host (vfio:0000:01:00.0)"),
	OPT_VALUE(OPTION_LIST, "disk", 0, "list", "file", struct boot_flags, disks,
		  "Give the machine a disk (PATH[,format=raw|qcow2][,ro][,backing=PATH])"),
	OPT_VALUE(OPTION_STRING, "engine", 0, "string", "auto kvm qemu", struct boot_flags, engine,
		  "What runs the machine: auto (default), kvm, qemu"),
	OPT_VALUE(OPTION_STRING, "hugepages", 0, "size", "2M 1G", struct boot_flags, hugepages,
		  "Take the guest's memory from the host's pool of huge pages: 2M, 1G"),
	OPT_VALUE(OPTION_STRING, "initrd", 0, "file", "file", struct boot_flags, initrd, "Initial RAM file system"),
	OPT_VALUE(OPTION_STRING, "isolation", 0, "string", "pv vm", struct boot_flags, isolation,
		  "What the guest is told: pv (default) that it runs on KVM, vm nothing"),
	OPT_VALUE(OPTION_STRING, "kernel", 0, "file", "file", struct boot_flags, kernel,
		  "bzImage, ELF with a PVH entry, vmlinux, or multiboot ELF"),
	OPT_STRING("machine", 0, "type", struct boot_flags, machine, "Machine type of QEMU"),
	OPT_SIZE("memory", 'm', "bytes", struct boot_flags, memory, "Memory of the machine (default 512m)"),
	OPT_LIST("tap", 0, "list", struct boot_flags, nets,
		 "Give the machine a network card on a tap device (NAME[,mac=ADDRESS][,queues=N][,vhost])"),
	OPT_INT("timeout", 0, "seconds", struct boot_flags, timeout, "Switch the machine off after that time"),
	OPT_INT("vcpus", 0, "int", struct boot_flags, vcpus, "Virtual CPUs (default 1)"),
	{ .name = NULL },
};

/* The config's numbers and words; -EINVAL with what is wrong. */
static int take_flags(const struct boot_flags *flags, struct vm_config *config, enum vm_engine_wish *wish,
		      struct error *err)
{
	const char *engine = flags->engine ? flags->engine : "auto", *kind = flags->isolation;

	*config = VM_CONFIG_INIT;
	if (!flags->kernel)
		return error_set(err, EINVAL, "which kernel? give one with --kernel");
	if (strcmp(engine, "auto") != 0 && strcmp(engine, "kvm") != 0 && strcmp(engine, "qemu") != 0)
		return error_set(err, EINVAL, "invalid --engine \"%s\": must be auto, kvm or qemu", engine);
	*wish = engine[0] == 'a' ? VM_WISH_AUTO : engine[0] == 'k' ? VM_WISH_KVM : VM_WISH_QEMU;
	if (kind && strcmp(kind, "pv") != 0 && strcmp(kind, "vm") != 0)
		return error_set(err, EINVAL, "invalid --isolation \"%s\": must be pv or vm", kind);
	config->kind = kind && kind[0] == 'v' ? VM_KIND_VM : VM_KIND_PV;
	if (flags->hugepages && str_to_size(flags->hugepages, &config->hugepages) < 0)
		return error_set(err, EINVAL, "invalid --hugepages \"%s\": must be 2M or 1G", flags->hugepages);
	if (flags->vcpus < 0 || flags->vcpus > VM_VCPUS_MAX)
		return error_set(err, EINVAL, "invalid --vcpus: a machine has 1 to %d", VM_VCPUS_MAX);
	if (flags->timeout < 0 || flags->timeout > 1000000)
		return error_set(err, EINVAL, "invalid --timeout: seconds, up to 1000000");
	config->vcpus = flags->vcpus ? (uint32_t)flags->vcpus : 1;
	config->memory = flags->memory ? (flags->memory + 4095) & ~UINT64_C(4095) : config->memory;
	config->boot_seconds = (uint32_t)flags->timeout;
	config->command_line = flags->command_line ? flags->command_line : "";
	config->machine = flags->machine;
	return 0;
}

/* Descriptors that caisson-vmm inherits: without O_CLOEXEC.  It is this process that executes it. */
static int open_file(const char *path, int flags, const char *what, struct error *err)
{
	int fd = open(path, flags, 0644); /* NOLINT(android-cloexec-open) */

	return fd < 0 ? error_errno(err, errno, "open %s %s", what, path) : fd;
}

/* What an image says that it stands on is not opened: it may be anybody's. */
static int open_disk(char *text, struct vm_disk *disk, struct error *err)
{
	struct vm_disk_setting setting;
	int ret = vm_disk_setting_read(text, &setting, err);

	if (ret < 0)
		return ret;
	disk->read_only = setting.read_only;
	for (size_t i = 0; i <= setting.backing_count; i++) {
		const char *path = i ? setting.backing[i - 1] : setting.path;
		bool read_only = i || setting.read_only;
		int fd = open_file(path, read_only ? O_RDONLY : O_RDWR, "disk", err);

		ret = fd < 0 ? fd : block_lock(fd, read_only, path, err);
		if (ret < 0)
			return ret;
		disk->chain[i].fd = fd;
		disk->chain[i].format = i ? setting.backing_formats[i - 1] : setting.format;
		disk->chain_count++;
	}
	return 0;
}

/* The tap's queues, and /dev/vhost-net for each of them if that is wanted; without O_CLOEXEC. */
static int open_queues(const struct tap_options *options, bool vhost, struct vm_net *net, struct error *err)
{
	struct tap tap;
	int ret = tap_open(options, &tap, err);

	if (ret < 0)
		return ret;
	for (; net->taps_count < tap.queues; net->taps_count++) {
		net->taps[net->taps_count] = tap.fds[net->taps_count];
		(void)fcntl(tap.fds[net->taps_count], F_SETFD, 0);
	}
	for (; vhost && net->vhosts_count < net->taps_count; net->vhosts_count++) {
		int fd = open_file("/dev/vhost-net", O_RDWR, "kernel's network card", err);

		if (fd < 0)
			return fd;
		net->vhosts[net->vhosts_count] = fd;
	}
	return 0;
}

/* NAME[,mac=ADDRESS][,queues=N][,vhost] */
static int open_net(char *text, unsigned number, struct vm_net *net, struct error *err)
{
	static char macs[VM_NETS_MAX][18];
	struct tap_options options = { .name = strsep(&text, ",") };
	uint64_t queues = 1;
	bool vhost = false;

	(void)snprintf(macs[number], sizeof(macs[number]), "02:00:00:00:00:%02x", number + 1);
	*net = (struct vm_net){ .mac = macs[number] };
	for (const char *word; (word = strsep(&text, ","));) {
		if (str_starts(word, "mac="))
			net->mac = word + strlen("mac=");
		else if (strcmp(word, "vhost") == 0)
			vhost = true;
		else if (str_starts(word, "queues=") && str_to_u64(word + strlen("queues="), &queues) == 0 &&
			 queues >= 1 && queues <= VM_QUEUES_MAX)
			continue;
		else
			return error_set(err, EINVAL,
					 "unknown option \"%s\" of tap %s; known are mac=ADDRESS, queues=N (1 to %d) "
					 "and vhost",
					 word, options.name, VM_QUEUES_MAX);
	}
	options.queues = (unsigned)queues;
	return open_queues(&options, vhost, net, err);
}

/* vfio:ADDRESS.  What such a device reaches is locked: all of the guest's memory. */
static int open_passed(const struct boot_flags *flags, struct vm_config *config, struct error *err)
{
	static char addresses[VM_DEVICES_MAX][VFIO_ADDRESS_SIZE];
	struct vfio_container container = VFIO_CONTAINER_INIT;
	const struct rlimit locked = { .rlim_cur = config->memory + LOCKED, .rlim_max = config->memory + LOCKED };

	if (flags->devices.count > VM_DEVICES_MAX)
		return error_set(err, E2BIG, "a machine has at most %d devices of the host", VM_DEVICES_MAX);
	for (size_t i = 0; i < flags->devices.count; i++) {
		const char *text = flags->devices.items[i];
		int fd;

		if (!str_starts(text, "vfio:"))
			return error_set(err, EINVAL, "invalid --device \"%s\": write it like vfio:0000:01:00.0", text);
		fd = vfio_address(text + strlen("vfio:"), addresses[i], err);
		if (fd == 0)
			fd = vfio_open(&container, addresses[i], err);
		if (fd < 0)
			return fd;
		(void)fcntl(fd, F_SETFD, 0);
		config->devices[config->devices_count++] = (struct vm_device){ .fd = fd, .address = addresses[i] };
	}
	if (config->devices_count == 0)
		return 0;
	config->container = container.fd;
	(void)fcntl(container.fd, F_SETFD, 0);
	/* Without: it is said when memory is locked. */
	(void)setrlimit(RLIMIT_MEMLOCK, &locked);
	return 0;
}

static int open_devices(const struct boot_flags *flags, struct vm_config *config, struct error *err)
{
	int ret = 0;

	if (flags->disks.count > VM_DISKS_MAX || flags->nets.count > VM_NETS_MAX)
		return error_set(err, E2BIG, "a machine has at most %d disks and %d network cards", VM_DISKS_MAX,
				 VM_NETS_MAX);
	for (; ret == 0 && config->disks_count < flags->disks.count; config->disks_count++)
		ret = open_disk((char *)flags->disks.items[config->disks_count], &config->disks[config->disks_count],
				err);
	for (; ret == 0 && config->nets_count < flags->nets.count; config->nets_count++)
		ret = open_net((char *)flags->nets.items[config->nets_count], (unsigned)config->nets_count,
			       &config->nets[config->nets_count], err);
	return ret;
}

static int open_files(const struct boot_flags *flags, struct vm_config *config, struct error *err)
{
	const struct {
		const char *path;
		int flags;
		const char *what;
		int *fd;
	} files[] = {
		{ flags->kernel, O_RDONLY, "kernel", &config->kernel },
		{ flags->initrd, O_RDONLY, "initrd", &config->initrd },
		{ flags->counters, O_WRONLY | O_CREAT | O_TRUNC, "file for counters", &config->counters },
	};

	/* -EPERM is -1, which stands for no file where one is left out. */
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		int fd = files[i].path ? open_file(files[i].path, files[i].flags, files[i].what, err) : -1;

		if (files[i].path && fd < 0)
			return fd;
		*files[i].fd = fd;
	}
	return 0;
}

static int become_vmm(struct cli *cli, const struct vm_config *config, struct error *err)
{
	int fd = memfd_create("config", 0);
	cleanup_free char *program = NULL;
	cleanup_str struct str text = STR_INIT;
	char number[16];
	int result;

	vm_config_write(config, &text);
	if (fd < 0 || str_failed(&text))
		return error_errno(err, fd < 0 ? errno : ENOMEM, "write the machine's configuration");
	result = file_write_all(fd, text.text, text.length);
	if (result < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, result < 0 ? -result : errno, "write the machine's configuration");
	result = companion_find(program_of(cli)->self, "caisson-vmm", &program, err);
	if (result < 0)
		return result;
	(void)snprintf(number, sizeof(number), "%d", fd);
	(void)execv(program, (char *[]){ program, (char *)"--config", number, NULL });
	return error_errno(err, errno, "execute %s", program);
}

static int boot_command(struct cli *cli, int argc, char **argv)
{
	struct boot_flags flags = { .kernel = NULL };
	struct vm_choice choice;
	struct vm_config config;
	enum vm_engine_wish wish = VM_WISH_AUTO;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (take_flags(&flags, &config, &wish, &err) < 0 || open_files(&flags, &config, &err) < 0 ||
	    open_devices(&flags, &config, &err) < 0 || open_passed(&flags, &config, &err) < 0 ||
	    vm_choose(wish, NULL, -1, &choice, &err) < 0)
		return program_fail(cli, &err, EXIT_ENGINE);
	if (choice.engine != VM_ENGINE_KVM && config.devices_count > 0) {
		(void)error_set(&err, ENOTSUP,
				"devices of the host need the engine kvm, and here is only QEMU's "
				"translation");
		return program_fail(cli, &err, EXIT_ENGINE);
	}
	config.engine = choice.engine;
	config.qemu = choice.qemu;
	config.kvm = choice.kvm;
	if (choice.kvm >= 0)
		(void)fcntl(choice.kvm, F_SETFD, 0);
	(void)become_vmm(cli, &config, &err);
	vm_choice_close(&choice);
	option_list_free(&flags.disks);
	option_list_free(&flags.nets);
	return program_fail(cli, &err, EXIT_ENGINE);
}

const struct command vm_commands[] = {
	{ .name = "boot",
	  .operands = "[OPTIONS]",
	  .summary = "Run a kernel bare: serial port on stdio, exit status from port 0xf4",
	  .options = boot_options,
	  .run = boot_command,
	  .details = "Ctrl-A x ends the machine. Exit status: (value << 1) | 1 of what was written to the debug-exit\n"
		     "port, 0 after powering off, 2 after a reset, 4 after a crash, 124 after --timeout, 125 when\n"
		     "the machine cannot be started.\n"
		     "\n"
		     "Examples:\n"
		     "  caisson vm boot --kernel vmlinuz --initrd initrd.img --cmdline 'console=ttyS0 panic=-1'\n"
		     "  caisson vm boot --kernel apic.flat --vcpus 2 --timeout 60" },
	{ .name = NULL },
};
