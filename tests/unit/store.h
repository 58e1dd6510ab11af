/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - an image store in a directory of its own, for each test.
 */
#ifndef CAISSON_TESTS_UNIT_STORE_H
#define CAISSON_TESTS_UNIT_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "image/image.h"

struct fixture {
	char dir[64], root[72]; /* root, the store, is in dir */
	struct image_store store;
	struct image_report report;
	struct error err;
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/caisson-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->root, sizeof(f->root), "%s/store", f->dir);
	assert_int_equal(image_store_open(&f->store, f->root, &f->err), 0);
	f->store.durable = false;
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	image_store_close(&f->store);
	image_report_free(&f->report);
	assert_int_equal(file_remove_all(AT_FDCWD, f->dir, NULL), 0);
	free(f);
	return 0;
}

#endif
