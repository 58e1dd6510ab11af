/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp_private - what the files of the seccomp translation share: the
 * instructions before libseccomp's program, and the cache of finished ones.
 */
#ifndef CAISSON_PARADIGM_SHELL_SECCOMP_PRIVATE_H
#define CAISSON_PARADIGM_SHELL_SECCOMP_PRIVATE_H

#include "paradigm/shell/seccomp.h"

enum { SECCOMP_PROLOGUE_MAX = 256, SECCOMP_KEY_MAX = 80 };

/* libseccomp's number (SCMP_ARCH_*) of "SCMP_ARCH_X86_64"; 0 if it knows none. */
uint32_t seccomp_architecture(const char *name);

/*
 * The instructions that answer ENOSYS to system calls with a higher number than any in the profile, each architecture
 * of the profile by itself, and go on with what follows them for all others.  Returns how many, 0 when the profile
 * needs none.
 */
size_t seccomp_prologue(const struct oci_seccomp *profile, struct sock_filter code[static SECCOMP_PROLOGUE_MAX]);

/* Whether the kernel would take it: jumps stay inside, the end is a return. */
bool seccomp_code_is_sane(const struct sock_filter *code, size_t count);

/* The name under which the cache holds the program of a profile; false when it can have none. */
bool seccomp_cache_key(const struct oci_seccomp *profile, char key[static SECCOMP_KEY_MAX]);
/* Fills code and count of filter.  False for whatever is not there as it should be. */
bool seccomp_cache_read(int cache_fd, const char *key, struct seccomp_filter *filter);
void seccomp_cache_write(int cache_fd, const char *key, const struct seccomp_filter *filter);

#endif
