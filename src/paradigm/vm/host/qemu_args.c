/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "paradigm/vm/host/cmdline.h"
#include "paradigm/vm/host/qemu.h"
#include "paradigm/vm/host/tsc.h"

enum { MMIO_DEVICES = 8, MMIO_DEVICES_MORE = 24, IDE_DISKS = 4, TEXT_MAX = 1024 };

static void add_text(struct qemu_args *args, const char *text)
{
	if (args->count + 1 >= QEMU_ARGS_MAX || !text) {
		args->failed = true;
		return;
	}
	args->items[args->count++] = text;
	args->items[args->count] = NULL;
}

static void add(struct qemu_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct qemu_args *args, const char *format, ...)
{
	char text[TEXT_MAX];
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	if (length < 0 || (size_t)length >= sizeof(text))
		args->failed = true;
	else
		add_text(args, arena_strdup(&args->arena, text));
}

static void pass_fd(struct qemu_args *args, int fd)
{
	if (args->fds_count >= QEMU_FDS_MAX)
		args->failed = true;
	else
		args->fds[args->fds_count++] = fd;
}

/* How the machine is called, and what that means for its devices. */
struct board {
	const char *name, *options;
	const char *bus; /* the end of a virtio device's name; NULL: it has none */
};

static const struct board boards[] = {
	/* RTC, PIT and PIC make the kernel's start shorter under TCG, not longer. */
	{ "microvm", ",acpi=on,auto-kernel-cmdline=off,x-option-roms=off,isa-serial=on,rtc=on,pit=on,pic=on",
	  "device" },
	{ "q35", ",graphics=off,usb=off,vmport=off,smbus=off,sata=on", "pci" },
	{ "pc", ",graphics=off,usb=off,vmport=off,smbus=off", "pci" },
};

static const struct board *find_board(const struct vm_config *config, struct error *err)
{
	const char *name = config->machine ? config->machine : config->kind == VM_KIND_PV ? "microvm" : "pc";

	for (size_t i = 0; i < sizeof(boards) / sizeof(*boards); i++) {
		if (strcmp(boards[i].name, name) == 0 && (i > 0 || config->kind == VM_KIND_PV))
			return &boards[i];
	}
	(void)error_set(err, EINVAL, "machine \"%s\": this paradigm has %s", name,
			config->kind == VM_KIND_PV ? "microvm, q35, pc" : "pc, q35");
	return NULL;
}

/* ---- parts ---- */

static void add_machine(struct qemu_args *args, const struct vm_config *config, const struct board *board,
			size_t devices)
{
	bool shared = config->shares_count > 0;

	add_text(args, "-machine");
	add(args, "%s%s%s%s", board->name, board->options,
	    board == &boards[0] && devices > MMIO_DEVICES ? ",ioapic2=on" : "",
	    shared || config->hugepages ? ",memory-backend=ram" : "");
	add_text(args, "-accel");
	/* MiB of translated code: it would take as much as a GiB, more than a machine has beside its guest. */
	add_text(args, "tcg,thread=multi,tb-size=256");
	add_text(args, "-cpu");
	/* The leanest CPU is the fastest to translate; a guest's kernel would wait for its random numbers. */
	add_text(args, "qemu64,+rdrand");
	add_text(args, "-m");
	add(args, "%" PRIu64 "k", config->memory >> 10);
	if (shared || config->hugepages) {
		add_text(args, "-object");
		add(args, "memory-backend-memfd,id=ram,share=on,size=%" PRIu64 "k%s", config->memory >> 10,
		    config->hugepages == UINT64_C(1) << 30 ? ",hugetlb=on,hugetlbsize=1G"
		    : config->hugepages			   ? ",hugetlb=on,hugetlbsize=2M"
							   : "");
	}
	add_text(args, "-smp");
	add(args, "%u", config->vcpus);
}

static int add_kernel(struct qemu_args *args, const struct vm_config *config, struct error *err)
{
	struct str words = STR_INIT;

	cmdline_write(config, tsc_khz(), &words);
	add_text(args, "-kernel");
	add(args, "/proc/self/fd/%d", config->kernel);
	pass_fd(args, config->kernel);
	if (config->initrd >= 0) {
		add_text(args, "-initrd");
		add(args, "/proc/self/fd/%d", config->initrd);
		pass_fd(args, config->initrd);
	}
	if (words.length > 0) {
		add_text(args, "-append");
		add_text(args, arena_strdup(&args->arena, words.text));
	}
	if (str_failed(&words))
		args->failed = true;
	str_free(&words);
	return args->failed ? error_set(err, ENOMEM, "no memory for the kernel's command line") : 0;
}

static void add_serial(struct qemu_args *args, const char *name, int fd)
{
	add_text(args, "-chardev");
	add(args, "socket,id=%s,fd=%d", name, fd);
	pass_fd(args, fd);
}

static void add_channels(struct qemu_args *args, const struct vm_config *config, const struct board *board,
			 const struct qemu_sockets *sockets)
{
	add_serial(args, "console", sockets->console);
	add_text(args, "-serial");
	add_text(args, "chardev:console");
	add_serial(args, "monitor", sockets->monitor);
	add_text(args, "-mon");
	add_text(args, "chardev=monitor,mode=control");
	if (sockets->agent < 0)
		return;
	add_serial(args, "agent", sockets->agent);
	if (config->kind == VM_KIND_VM) {
		add_text(args, "-serial");
		add_text(args, "chardev:agent");
		return;
	}
	add_text(args, "-device");
	add(args, "virtio-serial-%s,max_ports=2", board->bus);
	add_text(args, "-device");
	/* A port, not a console: QEMU drops what a console says while nobody reads. */
	add_text(args, "virtserialport,chardev=agent,name=agent,nr=1");
}

/* A chain from its bottom up: each image knows the one below by its name, whatever stands in it. */
static void add_chain(struct qemu_args *args, const struct vm_disk *disk, size_t index)
{
	for (size_t k = disk->chain_count; k-- > 0;) {
		int fd = disk->chain[k].fd;
		bool read_only = disk->read_only || k > 0, qcow2 = strcmp(disk->chain[k].format, "qcow2") == 0;
		/* QEMU takes a descriptor only for exactly what it is open for. */
		bool opened_so = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;

		add_text(args, "-add-fd");
		add(args, "fd=%d,set=%d", fd, fd);
		pass_fd(args, fd);
		add_text(args, "-blockdev");
		add(args,
		    "{\"driver\":\"file\",\"node-name\":\"disk%zu.%zu.file\",\"filename\":\"/dev/fdset/%d\","
		    "\"locking\":\"off\",\"discard\":\"unmap\",\"read-only\":%s}",
		    index, k, fd, opened_so ? "true" : "false");
		add_text(args, "-blockdev");
		if (!qcow2)
			add(args,
			    "{\"driver\":\"raw\",\"node-name\":\"disk%zu.%zu\",\"file\":\"disk%zu.%zu.file\","
			    "\"discard\":\"unmap\",\"read-only\":%s}",
			    index, k, index, k, read_only ? "true" : "false");
		else if (k + 1 < disk->chain_count)
			add(args,
			    "{\"driver\":\"qcow2\",\"node-name\":\"disk%zu.%zu\",\"file\":\"disk%zu.%zu.file\","
			    "\"backing\":\"disk%zu.%zu\",\"discard\":\"unmap\",\"read-only\":%s}",
			    index, k, index, k, index, k + 1, read_only ? "true" : "false");
		else
			add(args,
			    "{\"driver\":\"qcow2\",\"node-name\":\"disk%zu.%zu\",\"file\":\"disk%zu.%zu.file\","
			    "\"backing\":null,\"discard\":\"unmap\",\"read-only\":%s}",
			    index, k, index, k, read_only ? "true" : "false");
	}
}

static void add_disks(struct qemu_args *args, const struct vm_config *config, const struct board *board)
{
	for (size_t i = 0; i < config->disks_count; i++) {
		add_chain(args, &config->disks[i], i);
		add_text(args, "-device");
		if (config->kind == VM_KIND_PV)
			add(args, "virtio-blk-%s,drive=disk%zu.0,serial=disk%zu", board->bus, i, i);
		else if (strcmp(board->name, "q35") == 0)
			add(args, "ide-hd,drive=disk%zu.0,bus=ide.%zu,serial=disk%zu", i, i, i);
		else
			add(args, "ide-hd,drive=disk%zu.0,bus=ide.%zu,unit=%zu,serial=disk%zu", i, i / 2, i % 2, i);
	}
}

static void add_nets(struct qemu_args *args, const struct vm_config *config, const struct board *board)
{
	for (size_t i = 0; i < config->nets_count; i++) {
		const struct vm_net *net = &config->nets[i];

		add_text(args, "-netdev");
		add(args, "tap,id=net%zu,fd=%d", i, net->taps[0]);
		pass_fd(args, net->taps[0]);
		add_text(args, "-device");
		if (config->kind == VM_KIND_PV)
			add(args, "virtio-net-%s,netdev=net%zu%s%s", board->bus, i, net->mac ? ",mac=" : "",
			    net->mac ? net->mac : "");
		else
			add(args, "e1000,netdev=net%zu%s%s", i, net->mac ? ",mac=" : "", net->mac ? net->mac : "");
	}
}

static void add_shares(struct qemu_args *args, const struct vm_config *config, const struct board *board,
		       const struct qemu_sockets *sockets)
{
	for (size_t i = 0; i < config->shares_count; i++) {
		add_text(args, "-chardev");
		add(args, "socket,id=share%zu,fd=%d", i, sockets->shares[i]);
		pass_fd(args, sockets->shares[i]);
		add_text(args, "-device");
		add(args, "vhost-user-fs-%s,chardev=share%zu,tag=%s", board->bus, i, config->shares[i].tag);
	}
}

static void add_others(struct qemu_args *args, const struct vm_config *config, const struct board *board)
{
	if (config->oci < 0) {
		add_text(args, "-device");
		add_text(args, "isa-debug-exit,iobase=0xf4,iosize=4");
		return;
	}
	if (config->kind == VM_KIND_VM)
		return;
	add_text(args, "-device");
	add(args, "virtio-rng-%s", board->bus);
	add_text(args, "-device");
	add(args, "virtio-balloon-%s", board->bus);
}

/* Words that go between commas must have none of their own. */
static int check_words(const struct vm_config *config, struct error *err)
{
	for (size_t i = 0; i < config->shares_count; i++) {
		if (strpbrk(config->shares[i].tag, ",=") || strlen(config->shares[i].tag) > 35)
			return error_set(err, EINVAL, "share \"%s\": this is no tag", config->shares[i].tag);
	}
	for (size_t i = 0; i < config->nets_count; i++) {
		if (config->nets[i].mac && strspn(config->nets[i].mac, "0123456789abcdefABCDEF:") != 17)
			return error_set(err, EINVAL, "network device %zu: \"%s\" is no address", i,
					 config->nets[i].mac);
	}
	return 0;
}

static int check_devices(const struct vm_config *config, const struct board *board, size_t devices, struct error *err)
{
	if (board == &boards[0] && devices > MMIO_DEVICES_MORE)
		return error_set(err, E2BIG,
				 "the microvm machine has room for %d devices, not %zu; take the machine q35",
				 MMIO_DEVICES_MORE, devices);
	if (config->kind == VM_KIND_VM && config->disks_count > IDE_DISKS)
		return error_set(err, E2BIG, "this machine has room for %d disks, not %zu", IDE_DISKS,
				 config->disks_count);
	for (size_t i = 0; config->kind == VM_KIND_VM && i < config->disks_count; i++) {
		if (config->disks[i].read_only)
			return error_set(err, EINVAL, "disk %zu: a hard disk of QEMU's cannot be read-only", i);
	}
	if (config->kind == VM_KIND_VM && config->shares_count > 0)
		return error_set(err, EINVAL, "directories can only be shared with virtio (pv)");
	return 0;
}

int qemu_args_make(struct qemu_args *args, const struct vm_config *config, const struct qemu_sockets *sockets,
		   struct error *err)
{
	static const char *const always[] = {
		"-nodefaults",
		"-no-user-config",
		"-display",
		"none",
		"-no-reboot",
		"-name",
		"caisson,debug-threads=on",
		"-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	};
	const struct board *board = find_board(config, err);
	size_t devices = 3 + config->disks_count + config->nets_count + config->shares_count;
	int ret = board ? check_words(config, err) : -EINVAL;

	args->arena = (struct arena){ 0 };
	args->count = args->fds_count = 0;
	args->failed = false;
	if (ret == 0)
		ret = check_devices(config, board, devices, err);
	if (ret < 0)
		return ret;
	add_text(args, config->qemu ? config->qemu : QEMU_PROGRAM);
	for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
		add_text(args, always[i]);
	add_machine(args, config, board, devices);
	ret = add_kernel(args, config, err);
	if (ret < 0)
		return ret;
	add_channels(args, config, board, sockets);
	add_disks(args, config, board);
	add_nets(args, config, board);
	add_shares(args, config, board, sockets);
	add_others(args, config, board);
	return args->failed ? error_set(err, E2BIG, "this machine has too many parts for QEMU's command line") : 0;
}

void qemu_args_free(struct qemu_args *args)
{
	arena_free(&args->arena);
}
