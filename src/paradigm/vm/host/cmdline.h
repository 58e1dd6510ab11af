/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmdline - the guest kernel's command line: Documentation/admin-guide/
 * kernel-parameters.txt.
 *
 * What makes Debian's kernel start quickly in each kind of machine, where the
 * guest's init finds its agent channel and its root file system, and then the
 * user's own words, which may overrule what comes before.
 */
#ifndef CAISSON_PARADIGM_VM_HOST_CMDLINE_H
#define CAISSON_PARADIGM_VM_HOST_CMDLINE_H

#include "base/str.h"
#include "paradigm/vm/config.h"

/* Appends it.  A bare machine (no agent) gets the user's words alone.  tsc_khz: of the time stamp counter that the
 * guest sees, 0: it finds out by itself. */
void cmdline_write(const struct vm_config *config, uint32_t tsc_khz, struct str *out);

#endif
