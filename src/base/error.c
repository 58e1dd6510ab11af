/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* A message that does not fit must show that it was cut. */
static void mark_cut(char *text)
{
	memcpy(text + ERROR_TEXT_MAX - 4, "...", 4);
}

static void set_text(struct error *err, int code, const char *format, va_list args)
{
	err->code = code;
	if (vsnprintf(err->text, sizeof(err->text), format, args) >= (int)sizeof(err->text))
		mark_cut(err->text);
	str_disarm(err->text);
}

static void append(struct error *err, const char *separator, const char *text)
{
	size_t used = strlen(err->text);

	if (snprintf(err->text + used, sizeof(err->text) - used, "%s%s", separator, text) >=
	    (int)(sizeof(err->text) - used))
		mark_cut(err->text);
}

int error_set(struct error *err, int code, const char *format, ...)
{
	if (err) {
		va_list args;

		va_start(args, format);
		set_text(err, code, format, args);
		va_end(args);
	}
	return -code;
}

/* runc prints Go's words and callers match them; musl has others for many. */
static const struct {
	int code;
	const char *words;
} errnos[] = {
	{ EPERM, "operation not permitted" },
	{ ENOENT, "no such file or directory" },
	{ ESRCH, "no such process" },
	{ EINTR, "interrupted system call" },
	{ EIO, "input/output error" },
	{ ENXIO, "no such device or address" },
	{ E2BIG, "argument list too long" },
	{ ENOEXEC, "exec format error" },
	{ EBADF, "bad file descriptor" },
	{ ECHILD, "no child processes" },
	{ EAGAIN, "resource temporarily unavailable" },
	{ ENOMEM, "cannot allocate memory" },
	{ EACCES, "permission denied" },
	{ EFAULT, "bad address" },
	{ EBUSY, "device or resource busy" },
	{ EEXIST, "file exists" },
	{ EXDEV, "invalid cross-device link" },
	{ ENODEV, "no such device" },
	{ ENOTDIR, "not a directory" },
	{ EISDIR, "is a directory" },
	{ EINVAL, "invalid argument" },
	{ ENFILE, "too many open files in system" },
	{ EMFILE, "too many open files" },
	{ ENOTTY, "inappropriate ioctl for device" },
	{ ETXTBSY, "text file busy" },
	{ EFBIG, "file too large" },
	{ ENOSPC, "no space left on device" },
	{ EROFS, "read-only file system" },
	{ EPIPE, "broken pipe" },
	{ ERANGE, "numerical result out of range" },
	{ ENAMETOOLONG, "file name too long" },
	{ ENOSYS, "function not implemented" },
	{ ENOTEMPTY, "directory not empty" },
	{ ELOOP, "too many levels of symbolic links" },
	{ EPROTO, "protocol error" },
	{ EOVERFLOW, "value too large for defined data type" },
	{ EOPNOTSUPP, "operation not supported" },
	{ EADDRINUSE, "address already in use" },
	{ ECONNREFUSED, "connection refused" },
	{ ECONNRESET, "connection reset by peer" },
	{ ETIMEDOUT, "connection timed out" },
	{ EDQUOT, "disk quota exceeded" },
	{ EUCLEAN, "structure needs cleaning" }, /* a file system is damaged */
};

const char *error_words(int code)
{
	for (size_t i = 0; i < sizeof(errnos) / sizeof(*errnos); i++) {
		if (errnos[i].code == code)
			return errnos[i].words;
	}
	return strerror(code);
}

int error_errno(struct error *err, int code, const char *format, ...)
{
	if (err) {
		va_list args;

		va_start(args, format);
		set_text(err, code, format, args);
		va_end(args);
		append(err, ": ", error_words(code));
	}
	return -code;
}

int error_wrap(struct error *err, const char *format, ...)
{
	char inner[ERROR_TEXT_MAX];
	va_list args;

	if (!err)
		return -EIO;
	memcpy(inner, err->text, sizeof(inner));
	va_start(args, format);
	set_text(err, err->code, format, args);
	va_end(args);
	append(err, ": ", inner);
	return -err->code;
}

int error_hint(struct error *err, const char *format, ...)
{
	char hint[ERROR_TEXT_MAX];
	va_list args;

	if (!err)
		return -EIO;
	va_start(args, format);
	(void)vsnprintf(hint, sizeof(hint), format, args);
	va_end(args);
	str_disarm(hint);
	append(err, "; ", hint);
	return -err->code;
}
