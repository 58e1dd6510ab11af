/* SPDX-License-Identifier: Apache-2.0 */
/*
 * treecopy - copies a directory tree as it is: owners, modes, times, links,
 * devices, extended attributes.
 *
 * Both trees are walked by descriptor and no link is followed: the source may
 * have been written by an instance.  Hard links become files of their own.
 */
#ifndef CAISSON_ENGINE_TREECOPY_H
#define CAISSON_ENGINE_TREECOPY_H

#include "base/error.h"

/* Copies what is in directory from into directory to (both readable), which also gets from's attributes.  What is in
 * the way in to is replaced. */
int treecopy(int from, int to, struct error *err);

#endif
