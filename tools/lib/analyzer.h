/* SPDX-License-Identifier: Apache-2.0 */
/*
 * analyzer - what clang's analyzer cannot see from one file: the error functions never return 0.
 *
 * tools/lint includes it before every source except error.c.  Without it each `return error_set(...)` looks like a
 * success that filled nothing in, and most of what the analyzer says is false.
 */
#ifndef CAISSON_TOOLS_ANALYZER_H
#define CAISSON_TOOLS_ANALYZER_H

#include "base/error.h"

#define error_set(err, code, ...)   ((void)(err), (void)(code), -1)
#define error_errno(err, code, ...) ((void)(err), (void)(code), -1)
#define error_wrap(err, ...)	    ((void)(err), -1)
#define error_hint(err, ...)	    ((void)(err), -1)

#endif
