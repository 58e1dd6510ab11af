/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/clone.h"
#include "paradigm/vm/choose.h"
#include "paradigm/vm/prepare.h"
#include "paradigm/vm/vmm.h"

static int probe(struct str *engine, struct error *err)
{
	struct vm_choice choice;
	int ret = vm_choose(VM_WISH_AUTO, NULL, -1, &choice, err);

	if (ret < 0)
		return ret;
	if (engine)
		str_append(engine, choice.why);
	vm_choice_close(&choice);
	return 0;
}

static int prepare_pv(struct paradigm_setup *setup, struct error *err)
{
	return vm_prepare(VM_KIND_PV, setup, err);
}

static int prepare_vm(struct paradigm_setup *setup, struct error *err)
{
	return vm_prepare(VM_KIND_VM, setup, err);
}

/* The workload's program is on a disk that only the guest can read: it looks for it. */
static int find(const struct oci_process *process, char **program, struct error *err)
{
	*program = strdup(process->args.items[0]);
	return *program ? 0 : error_errno(err, ENOMEM, "cannot name the monitor");
}

static int become(const struct paradigm_setup *setup, const struct oci_process *process, const char *program,
		  int control, struct error *err)
{
	const struct vm_prepared *prepared = setup->own;
	sigset_t none;

	(void)program;
	/* Whatever else is open here was somebody else's. */
	if (dup2(control, prepared->sync) < 0 || fds_cloexec_from(STDERR_FILENO + 1, NULL, 0) < 0)
		return error_errno(err, errno, "cannot hand descriptors to the monitor");
	for (size_t i = 0; i < setup->fds_count; i++) {
		if (setup->fds[i] != prepared->program && fcntl(setup->fds[i], F_SETFD, 0) < 0)
			return error_errno(err, errno, "cannot hand descriptors to the monitor");
	}
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)syscall(SYS_execveat, prepared->program, "", process->args.items, process->env.items, AT_EMPTY_PATH);
	return error_errno(err, errno, "exec caisson-vmm");
}

#define MACHINE(name_, prepare_)                                                                                     \
	{                                                                                                            \
		.name = (name_), .root_is_disk = true, .own_kernel = true, .named_threads = true, .probe = probe,    \
		.prepare = (prepare_), .release = vm_release, .clean = vm_clean, .find = find, .become = become,     \
		.exec = vmm_exec, .update = vmm_update, .counters = vmm_counters, .memory_events = VM_MEMORY_EVENTS, \
		.snapshot = vmm_snapshot,                                                                            \
	}

const struct paradigm paradigm_pv = MACHINE("pv", prepare_pv);
const struct paradigm paradigm_vm = MACHINE("vm", prepare_vm);
