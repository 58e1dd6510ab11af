/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/cmdline.h"

struct words {
	bool kvm, qemu; /* the engines that they are for */
	bool pv, vm;	/* the kinds */
	const char *text;
	bool no_bus; /* only where there are no devices of the host's */
};

static const struct words table[] = {
	{ true, true, true, true, "console=ttyS0" },
	/* Errors and panics are still shown, and each line of a serial port costs dozens of exits. */
	{ true, true, true, true, "quiet" },
	/* A panic ends the machine at once, so that somebody hears of it. */
	{ true, true, true, true, "panic=-1 oops=panic" },
	/* The boundary is the machine, which has one workload.  What that sets up for itself is its own. */
	{ true, true, true, true, "mitigations=off" },
	{ true, true, true, true, "cryptomgr.notests rcupdate.rcu_expedited=1 audit=0 random.trust_cpu=on" },
	/*
	 * A third of the instructions until user space: of each function that can be traced, whether it was a weak one
	 * (which is looked at again when somebody lists them); values for the names of enumerations in the format
	 * texts of events (of which readers then show the numbers).  Kernels that have no such initcalls ignore it.
	 */
	{ true, true, true, true, "initcall_blacklist=trace_eval_init,ftrace_check_for_weak_functions" },
	/* Each UART that is not there is looked for. */
	{ true, true, true, false, "8250.nr_uarts=1" },
	{ true, true, false, true, "8250.nr_uarts=2" },
	/* The timer of a virtual machine that the host does not let run for a moment seems not to work. */
	{ true, true, true, true, "no_timer_check tsc=reliable" },
	/* There is no PCI bus, and looking for one makes a quarter of the exits to the monitor. */
	{ true, false, true, false, "pci=off", .no_bus = true },
	/* ACPI finds what there is; a reset by the keyboard controller is one that every engine notices. */
	{ true, false, true, true, "reboot=k" },
	{ false, true, true, true, "reboot=t" },
	{ true, true, true, false, "caisson.agent=port:agent caisson.root=/dev/vda" },
	{ true, true, false, true, "caisson.agent=ttyS1 caisson.root=/dev/sda" },
};

void cmdline_write(const struct vm_config *config, uint32_t tsc_khz, struct str *out)
{
	bool kvm = config->engine == VM_ENGINE_KVM, pv = config->kind == VM_KIND_PV, agent = config->oci >= 0;

	for (size_t i = 0; agent && i < sizeof(table) / sizeof(*table); i++) {
		if (table[i].no_bus && config->devices_count > 0)
			continue;
		if ((kvm ? table[i].kvm : table[i].qemu) && (pv ? table[i].pv : table[i].vm))
			str_printf(out, "%s%s", out->length ? " " : "", table[i].text);
	}
	if (agent && tsc_khz > 0)
		str_printf(out, " tsc_early_khz=%u", tsc_khz);
	if (config->command_line && *config->command_line)
		str_printf(out, "%s%s", out->length ? " " : "", config->command_line);
}
