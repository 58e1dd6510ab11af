/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finished filters on disk.  A file is named by all that its program depends on, so it never has to be replaced, only
 * doubted:
 *
 *     8 bytes   "csnbpf" and the format's number
 *     n x 8     struct sock_filter, in the byte order of the host
 *     8 bytes   a checksum like FNV-1a of what is before: against torn and damaged files, not against attackers
 *
 * Against those stands that the file must be the caller's own and nobody else's to read or write.
 */
#include "paradigm/shell/seccomp_private.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* Also to be counted up when what this code makes out of a profile changes. */
static const char magic[8] = { 'c', 's', 'n', 'b', 'p', 'f', 0, 1 };

enum { WORD = 8, FILE_MAX = BPF_MAXINSNS * WORD + 2 * WORD };
_Static_assert(sizeof(struct sock_filter) == WORD, "the file's form");

/* By words: a program of 1400 instructions would cost as much by bytes as the rest of the reading. */
static uint64_t checksum(const unsigned char *bytes, size_t count)
{
	uint64_t hash = 0xcbf29ce484222325u, word;

	for (size_t i = 0; i + WORD <= count; i += WORD) {
		memcpy(&word, bytes + i, WORD);
		hash = (hash ^ word) * 0x100000001b3u;
		hash ^= hash >> 32;
	}
	return hash;
}

bool seccomp_cache_key(const struct oci_seccomp *profile, char key[static SECCOMP_KEY_MAX])
{
	const struct scmp_version *version = seccomp_version();
	unsigned char digest[SHA256_DIGEST_LENGTH];
	struct utsname host;
	char maker[300];
	SHA2_CTX context;
	int length;

	if (!profile->canonical || !version || uname(&host) < 0)
		return false;
	/* libseccomp asks the running kernel which actions there are. */
	length = snprintf(maker, sizeof(maker), "%u.%u.%u %s %s\n", version->major, version->minor, version->micro,
			  host.release, host.machine);
	if (length < 0 || (size_t)length >= sizeof(maker))
		return false;
	SHA256Init(&context);
	SHA256Update(&context, (const uint8_t *)magic, sizeof(magic));
	SHA256Update(&context, (const uint8_t *)maker, (size_t)length);
	SHA256Update(&context, (const uint8_t *)profile->canonical, strlen(profile->canonical));
	SHA256Final(digest, &context);
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(key + 2 * i, 3, "%02x", digest[i]);
	return true;
}

static bool is_ours_alone(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid() && st->st_nlink == 1 && (st->st_mode & 077) == 0;
}

bool seccomp_cache_read(int cache_fd, const char *key, struct seccomp_filter *filter)
{
	cleanup_close int fd = openat(cache_fd, key, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	cleanup_free unsigned char *bytes = NULL;
	struct stat st;
	size_t size;
	uint64_t sum;

	if (fd < 0 || fstat(fd, &st) < 0 || !is_ours_alone(&st))
		return false;
	if (st.st_size < 3 * WORD || st.st_size > FILE_MAX || st.st_size % WORD != 0)
		return false;
	size = (size_t)st.st_size;
	bytes = malloc(size);
	if (!bytes || read(fd, bytes, size) != st.st_size)
		return false;
	memcpy(&sum, bytes + size - WORD, WORD);
	if (memcmp(bytes, magic, WORD) != 0 || sum != checksum(bytes, size - WORD))
		return false;
	filter->count = (size - 2 * WORD) / WORD;
	memmove(bytes, bytes + WORD, size - 2 * WORD);
	if (!seccomp_code_is_sane((const struct sock_filter *)bytes, filter->count))
		return false;
	filter->code = (struct sock_filter *)take_ptr(bytes);
	return true;
}

int seccomp_cache_open(const struct oci_seccomp *profile, int cache_fd, struct error *err)
{
	struct seccomp_filter filter;
	char key[SECCOMP_KEY_MAX];
	int ret = seccomp_compile_cached(profile, cache_fd, &filter, err), fd;

	if (ret < 0)
		return ret;
	seccomp_filter_free(&filter);
	fd = cache_fd >= 0 && seccomp_cache_key(profile, key)
		     ? openat(cache_fd, key, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
		     : -1;
	return fd < 0 ? error_set(err, ENOENT, "the compiled filter is not kept") : fd;
}

int seccomp_cache_adopt(const struct oci_seccomp *profile, int cache_fd, int dirfd, const char *name)
{
	char key[SECCOMP_KEY_MAX];

	if (!seccomp_cache_key(profile, key))
		return -ENOENT;
	return renameat(dirfd, name, cache_fd, key) < 0 ? -errno : 0;
}

void seccomp_cache_write(int cache_fd, const char *key, const struct seccomp_filter *filter)
{
	size_t code_size = filter->count * WORD;
	cleanup_free unsigned char *bytes = malloc(code_size + 2 * WORD);
	uint64_t sum;

	if (!bytes)
		return;
	memcpy(bytes, magic, WORD);
	memcpy(bytes + WORD, filter->code, code_size);
	sum = checksum(bytes, WORD + code_size);
	memcpy(bytes + WORD + code_size, &sum, WORD);
	/* A cache that cannot be written costs time, nothing else. */
	(void)file_replace(cache_fd, key, bytes, code_size + 2 * WORD, 0600, NULL);
}
