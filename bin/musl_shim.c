/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs that are linked with musl.
 *
 * libseccomp's and libmd's archives were compiled for glibc with _FORTIFY_SOURCE.  What they call with structures of
 * their own making (strings, buffers, malloc, qsort, errno) is the same in both libraries; the rest is here.  What were
 * missing would be an error of the linker, never of a running program.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

int __fprintf_chk(FILE *stream, int flag, const char *format, ...);

int __fprintf_chk(FILE *stream, int flag, const char *format, ...)
{
	va_list arguments;
	int count;

	(void)flag;
	va_start(arguments, format);
	count = vfprintf(stream, format, arguments);
	va_end(arguments);
	return count;
}

/* musl's own follows each O_CLOEXEC with an fcntl(2), for kernels older than any that we run on. */
int open(const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode = 0;

	if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {
		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	return openat(AT_FDCWD, path, flags, mode);
}
