/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's kernel: of the store of kernels by its name, or a file.  Whatever
 * it is, process 1 of the guest is our caisson-init: an initramfs of somebody
 * else's must bring it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/companion.h"
#include "paradigm/vm/kernel.h"
#include "paradigm/vm/prepare.h"

static int open_file(const char *path, const char *what, struct error *err)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return error_errno(err, errno, "cannot open the %s %s", what, path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "the %s %s is no regular file", what, path);
	return take_fd(&fd);
}

/* As distributions lay them out: DIR/boot/vmlinuz-VERSION, and DIR/lib/modules/VERSION; -1: there are none. */
static int open_modules(const char *kernel)
{
	const char *name = strrchr(kernel, '/') + 1;
	cleanup_str struct str path = STR_INIT;

	if (!str_starts(name, "vmlinuz-"))
		return -1;
	str_printf(&path, "%.*s../lib/modules/%s", (int)(name - kernel), kernel, name + strlen("vmlinuz-"));
	return open(str_text(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_files(const struct vm_plan *plan, int init, struct kernel_found *found, struct error *err)
{
	const struct vm_settings *settings = &plan->settings;
	cleanup_close int modules = -1;

	found->kernel = open_file(settings->kernel, "kernel", err);
	if (found->kernel < 0)
		return found->kernel;
	if (settings->initrd) {
		found->initrd = open_file(settings->initrd, "initramfs", err);
		return found->initrd < 0 ? found->initrd : 0;
	}
	modules = open_modules(settings->kernel);
	found->initrd = kernel_make_initrd(modules, plan->config.kind, init, err);
	return found->initrd < 0 ? found->initrd : 0;
}

static int find(const struct vm_plan *plan, int init, struct kernel_found *found, struct error *err)
{
	const struct vm_settings *settings = &plan->settings;
	struct stat st;

	if (!settings->kernel || !strchr(settings->kernel, '/'))
		return kernel_find(settings->kernels, settings->kernel, plan->config.kind, init, found, err);
	if (stat(settings->kernel, &st) == 0 && S_ISDIR(st.st_mode))
		return kernel_open(settings->kernel, plan->config.kind, init, found, err);
	return open_files(plan, init, found, err);
}

int vm_open_kernel(struct vm_plan *plan, struct error *err)
{
	struct kernel_found found = { .kernel = -1, .initrd = -1 };
	cleanup_free char *path = NULL;
	cleanup_close int init = -1;
	int ret = companion_find(plan->setup->self, "caisson-init", &path, err);

	if (ret == 0) {
		init = open(path, O_RDONLY | O_CLOEXEC);
		ret = init < 0 ? error_errno(err, errno, "cannot open %s", path) : 0;
	}
	if (ret == 0)
		ret = find(plan, init, &found, err);
	if (found.kernel >= 0)
		plan->config.kernel = vm_keep(plan, found.kernel, err);
	if (found.initrd >= 0)
		plan->config.initrd = vm_keep(plan, found.initrd, err);
	if (ret < 0)
		return ret;
	return plan->config.kernel < 0 ? plan->config.kernel : plan->config.initrd < 0 ? plan->config.initrd : 0;
}
