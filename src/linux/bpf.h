/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf - programs for the kernel's eBPF machine, by plain bpf(2).
 *
 * Only what cgroup v2 needs in place of v1's devices controller: a program of
 * type BPF_PROG_TYPE_CGROUP_DEVICE is made from a list of rules, loaded, and
 * attached to a cgroup directory (cgroup-v2.rst, "Device controller").  No
 * libbpf: there is nothing to relocate.  The room keeps nothing; an attached
 * program lives as long as its cgroup.
 */
#ifndef CAISSON_LINUX_BPF_H
#define CAISSON_LINUX_BPF_H

#include <linux/bpf.h>
#include <stddef.h>

#include "base/error.h"

struct cgroup_device_rule; /* linux/cgroup.h */

/* The longest list of rules that is taken: the verifier walks a million instructions, over all ways, and no more. */
enum { BPF_DEVICE_RULES_MAX = 1024 };

/*
 * Compiles the rules.  Each kind of access (read, write, mknod) is decided by the last rule that matches the device and
 * names it; an access is allowed if all its kinds are; what no rule decides is denied.  The caller frees *insns.
 * -EINVAL for a rule that makes no sense, -E2BIG for too many.
 */
int bpf_device_program(const struct cgroup_device_rule *rules, size_t rule_count, struct bpf_insn **insns,
		       size_t *count, struct error *err);

/* Loads a device program; a descriptor (O_CLOEXEC) or -errno.  name: at most 15 of [A-Za-z0-9_.].  When the verifier
 * refuses it, the end of its log is in the error. */
int bpf_device_load(const struct bpf_insn *insns, size_t count, const char *name, struct error *err);

/* Attaches it to a cgroup v2 directory beside those of others (BPF_F_ALLOW_MULTI); replace: the descriptor of an
 * attached program whose place it takes in one step (Linux 5.6), or -1. */
int bpf_device_attach(int cgroup_fd, int program_fd, int replace_fd, struct error *err);
int bpf_device_detach(int cgroup_fd, int program_fd, struct error *err);

/* A descriptor of the device program called name that is attached to this very cgroup; -ENOENT if there is none. */
int bpf_device_find(int cgroup_fd, const char *name, struct error *err);

#endif
