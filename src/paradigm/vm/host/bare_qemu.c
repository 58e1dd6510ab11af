/* SPDX-License-Identifier: Apache-2.0 */
/* A bare machine in QEMU: qemu-system-x86_64(1) has every word for it, its exit status is the debug-exit port's. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "paradigm/vm/host/bare.h"

enum { ARGUMENTS_MAX = 40, TEXT_MAX = 64 };

/*
 * microvm starts sooner, but has only the PIT to tell what time it is: a kernel that the host does not let run for a
 * moment finds no clock there.  Multiboot kernels, which 32-bit ELF files are, come with the older board in mind.
 */
static const char *machine_for(const struct vm_config *config)
{
	unsigned char ident[EI_NIDENT] = "";

	if (config->machine)
		return config->machine;
	if (pread(config->kernel, ident, sizeof(ident), 0) == (ssize_t)sizeof(ident) &&
	    memcmp(ident, ELFMAG, SELFMAG) == 0 && ident[EI_CLASS] == ELFCLASS32)
		return "pc";
	return "q35";
}

/* By its number, which QEMU opens again. */
static const char *file_argument(int fd, char path[FILE_FD_PATH_MAX])
{
	(void)fcntl(fd, F_SETFD, 0);
	return file_fd_path(fd, path);
}

int bare_become_qemu(const struct vm_config *config, struct error *err)
{
	char memory[TEXT_MAX], vcpus[TEXT_MAX], kernel[FILE_FD_PATH_MAX], initrd[FILE_FD_PATH_MAX];
	const char *arguments[ARGUMENTS_MAX] = {
		"qemu-system-x86_64",
		"-no-user-config",
		"-nodefaults",
		"-nographic",
		"-no-reboot",
		"-machine",
		"",
		"-cpu",
		"max",
		"-m",
		memory,
		"-smp",
		vcpus,
		"-kernel",
		kernel,
		"-serial",
		isatty(STDIN_FILENO) ? "mon:stdio" : "stdio",
		"-device",
		"isa-debug-exit,iobase=0xf4,iosize=0x04",
	};
	size_t count = 0;

	if (config->boot_seconds || config->counters >= 0)
		return error_set(err, ENOTSUP, "QEMU has no --timeout and no --counters; use timeout(1)");
	if (config->devices_count || config->disks_count || config->nets_count || config->hugepages)
		return error_set(
			err, ENOTSUP,
			"with QEMU a kernel is run without --device, --disk, --tap and --hugepages; call it by "
			"itself");
	while (arguments[count])
		count++;
	arguments[6] = machine_for(config);
	(void)snprintf(memory, sizeof(memory), "%lluM", (unsigned long long)(config->memory >> 20));
	(void)snprintf(vcpus, sizeof(vcpus), "%u", config->vcpus);
	(void)file_argument(config->kernel, kernel);
	if (config->initrd >= 0) {
		arguments[count++] = "-initrd";
		arguments[count++] = file_argument(config->initrd, initrd);
	}
	if (config->command_line && config->command_line[0]) {
		arguments[count++] = "-append";
		arguments[count++] = config->command_line;
	}
	(void)execv(config->qemu ? config->qemu : "/usr/bin/qemu-system-x86_64", (char **)arguments);
	return error_errno(err, errno, "execute %s", config->qemu ? config->qemu : "qemu-system-x86_64");
}
