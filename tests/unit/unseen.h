/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unseen - what ThreadSanitizer is not to look at: the guest's memory.
 *
 * A guest's processors write there without any lock of ours, whenever they like;
 * a device has to live with every value, and reads each once.  In a machine they
 * are not seen either: KVM runs them.
 */
#ifndef CAISSON_TESTS_UNIT_UNSEEN_H
#define CAISSON_TESTS_UNIT_UNSEEN_H

#include <stddef.h>

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define THREADS_ARE_WATCHED
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define THREADS_ARE_WATCHED
#endif

#ifdef THREADS_ARE_WATCHED
/* Of the sanitizer's runtime: no report of a race in there. */
void AnnotateBenignRaceSized(const char *file, int line, const volatile void *at, size_t size, const char *words);
#define HIDE_MEMORY(at, size) AnnotateBenignRaceSized(__FILE__, __LINE__, at, size, "the guest's memory")
/* A function that does what a guest's processor would. */
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))
#else
#define HIDE_MEMORY(at, size) ((void)(at), (void)(size))
#define UNSEEN
#endif

#endif
