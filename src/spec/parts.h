/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts - the tables of config.json's big objects, one per file of this room.
 *
 * Private to src/spec: runtime.c puts them together.
 */
#ifndef CAISSON_SPEC_PARTS_H
#define CAISSON_SPEC_PARTS_H

#include "spec/reader.h"

extern const struct spec_object spec_process;	/* into struct oci_process: process.c */
extern const struct spec_object spec_hooks;	/* into struct oci_hooks: hooks.c */
extern const struct spec_object spec_linux;	/* into struct oci_linux: linux.c */
extern const struct spec_object spec_resources; /* into struct oci_resources: resources.c */
extern const struct spec_object spec_vm;	/* into struct oci_vm: vm.c */

spec_read spec_read_seccomp;	 /* struct oci_seccomp: seccomp.c */
spec_read spec_read_id_mappings; /* struct oci_id_mappings: linux.c */

/* The closed word lists of the document that `features` prints as well; NULL-terminated. */
extern const char *const spec_seccomp_actions[];
extern const char *const spec_seccomp_operators[];
extern const char *const spec_seccomp_architectures[];
extern const char *const spec_seccomp_flags[];
extern const char *const spec_memory_policy_modes[];
extern const char *const spec_memory_policy_flags[];

#endif
