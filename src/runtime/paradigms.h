/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paradigms - those that there are.
 *
 * A program that is to know them sets runtime->paradigms; one that runs
 * containers alone does not, and is not linked with the others.
 */
#ifndef CAISSON_RUNTIME_PARADIGMS_H
#define CAISSON_RUNTIME_PARADIGMS_H

#include "paradigm/paradigm.h"
#include "runtime/runtime.h"

/* All of them, the default first, NULL-terminated. */
extern const struct paradigm *const paradigms_all[];

/* By name; NULL: there is none.  table NULL: the container alone. */
const struct paradigm *paradigm_find(const struct paradigm *const *table, const char *name);

/* "container, pv or vm", for messages: appended to out. */
void paradigm_names(const struct paradigm *const *table, struct str *out);

/* The annotation of config.json that chooses one (crun's). */
#define PARADIGM_ANNOTATION "run.oci.handler"

#endif
