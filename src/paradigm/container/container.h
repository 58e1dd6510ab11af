/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container - the paradigm in which the workload itself is process 1, on the
 * host's own kernel.  See execve(2).
 */
#ifndef CAISSON_PARADIGM_CONTAINER_CONTAINER_H
#define CAISSON_PARADIGM_CONTAINER_CONTAINER_H

#include "paradigm/paradigm.h"

extern const struct paradigm paradigm_container;

#endif
