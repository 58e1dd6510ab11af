/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/choose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/kvm.h"

static const char QEMU[] = "qemu-system-x86_64";

/* The one that was named, or that of the system: users' own directories are not looked into. */
static char *find_qemu(const char *asked)
{
	static const char *const places[] = { "/usr/bin", "/usr/local/bin", "/usr/libexec" };

	if (asked)
		return access(asked, X_OK) == 0 ? strdup(asked) : NULL;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		cleanup_free char *path = path_join(places[i], QEMU);

		if (path && access(path, X_OK) == 0)
			return take_ptr(path);
	}
	return NULL;
}

static int take_kvm(bool wanted, int cache, struct vm_choice *choice, char why[static 160], struct error *err)
{
	struct error error = ERROR_INIT;
	cleanup_close int kvm = kvm_open(&error);
	int speed = kvm < 0 ? kvm : kvm_check(kvm, &error);

	if (speed >= 0)
		speed = kvm_probe(kvm, cache, &error);
	if (speed < 0 && wanted) {
		if (err)
			*err = error;
		return speed;
	}
	/* Who asks for it gets it: small kernels run under an emulating one, too. */
	if (speed == KVM_NATIVE || (wanted && speed >= 0)) {
		choice->engine = VM_ENGINE_KVM;
		choice->kvm = take_fd(&kvm);
		(void)snprintf(choice->why, sizeof(choice->why), "kvm");
		return 1;
	}
	(void)snprintf(why, 160, "%.159s", speed < 0 ? error.text : "/dev/kvm only emulates");
	return 0;
}

int vm_choose(enum vm_engine_wish wish, const char *asked, int cache, struct vm_choice *choice, struct error *err)
{
	char why[160] = "chosen";
	int ret;

	*choice = (struct vm_choice){ .kvm = -1 };
	if (wish != VM_WISH_QEMU) {
		ret = take_kvm(wish == VM_WISH_KVM, cache, choice, why, err);
		if (ret != 0)
			return ret < 0 ? ret : 0;
	}
	choice->qemu = find_qemu(asked);
	if (!choice->qemu && asked)
		return error_set(err, ENOENT, "vm.hypervisor.path: there is no program %s", asked);
	if (!choice->qemu && wish == VM_WISH_QEMU)
		return error_set(err, ENOENT, "there is no %s; install qemu-system-x86", QEMU);
	if (!choice->qemu)
		return error_set(err, ENOENT,
				 "this host cannot run virtual machines by itself (%s); install qemu-system-x86, which "
				 "can, slowly",
				 why);
	choice->engine = VM_ENGINE_QEMU;
	(void)snprintf(choice->why, sizeof(choice->why), "qemu: %s", why);
	return 0;
}

void vm_choice_close(struct vm_choice *choice)
{
	if (choice->kvm >= 0)
		close(choice->kvm);
	free(choice->qemu);
	*choice = (struct vm_choice){ .kvm = -1 };
}
