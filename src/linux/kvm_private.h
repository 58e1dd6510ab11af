/* SPDX-License-Identifier: Apache-2.0 */
/* kvm_private - what the files of the kvm room share. */
#ifndef CAISSON_LINUX_KVM_PRIVATE_H
#define CAISSON_LINUX_KVM_PRIVATE_H

#include "base/error.h"

/* ioctl(2) that is repeated when a signal comes between; its result, or -errno. */
int kvm_call(int fd, unsigned long request, const void *argument);
/* For the requests that take a number in place of a pointer. */
int kvm_call_number(int fd, unsigned long request, unsigned long argument);
/* result, with the words for a negative one. */
int kvm_failed(struct error *err, int result, const char *request);

#endif
