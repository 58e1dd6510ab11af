/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal - what a file goes through, so that a test can cut the power.
 *
 * The calls that change files are taken from the C library's hands: of the one
 * file that is watched, each is noted and carried out under a lock, so that the
 * notes are in the order of what happened.  Disks under test are opened with threads:
 * what goes by io_uring is not seen.  Errors can be had on demand.
 */
#ifndef CAISSON_TESTS_UNIT_JOURNAL_H
#define CAISSON_TESTS_UNIT_JOURNAL_H

#include "disk.h"

#include <linux/falloc.h>
#include <pthread.h>

enum { SECTOR = 512 };

enum note_kind { NOTE_WRITE, NOTE_RESIZE, NOTE_PUNCH, NOTE_SYNC, NOTE_PROMISE };

struct note {
	enum note_kind kind;
	uint64_t offset, size;
	uint8_t *bytes;	   /* of a write */
	uint32_t promised; /* of a promise: the caller's */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	ino_t inode; /* of the file; 0: none is watched */
	uint8_t *first;
	uint64_t first_size; /* what it was at the begin */
	struct note *notes;
	size_t count, room;
	uint64_t sectors_left; /* of the host's disk; UINT64_MAX: as many as wanted */
	uint8_t *taken;	       /* which of the file's sectors have a place on it, as bytes */
	uint64_t taken_count;
	int sync_error; /* of the next fdatasync, an errno */
	bool held;	/* pwritev waits */
} journal = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static inline bool journal_watches(int fd)
{
	struct stat status;

	return journal.inode != 0 && fstat(fd, &status) == 0 && status.st_ino == journal.inode;
}

static inline void journal_note(struct note note)
{
	if (journal.count == journal.room) {
		journal.room = journal.room ? journal.room * 2 : 256;
		journal.notes = realloc(journal.notes, journal.room * sizeof(*journal.notes));
		if (!journal.notes)
			abort();
	}
	journal.notes[journal.count++] = note;
}

/* A place for each sector of a write, as far as there are any: bytes. */
static inline size_t journal_take(uint64_t offset, size_t size)
{
	uint64_t end = (offset + size + SECTOR - 1) / SECTOR;

	if (journal.sectors_left == UINT64_MAX)
		return size;
	if (end > journal.taken_count) {
		journal.taken = realloc(journal.taken, end);
		if (!journal.taken)
			abort();
		memset(journal.taken + journal.taken_count, 0, end - journal.taken_count);
		journal.taken_count = end;
	}
	for (uint64_t i = offset / SECTOR; i < end; i++) {
		if (!journal.taken[i] && journal.sectors_left == 0)
			return i * SECTOR > offset ? i * SECTOR - offset : 0;
		journal.sectors_left -= journal.taken[i] ? 0 : 1;
		journal.taken[i] = 1;
	}
	return size;
}

static inline ssize_t journal_write(int fd, const void *bytes, size_t size, off_t offset)
{
	ssize_t done;

	if (!journal_watches(fd))
		return syscall(SYS_pwrite64, fd, bytes, size, offset);
	(void)pthread_mutex_lock(&journal.lock);
	size = journal_take((uint64_t)offset, size);
	if (size == 0)
		errno = ENOSPC;
	done = size == 0 ? -1 : syscall(SYS_pwrite64, fd, bytes, size, offset);
	if (done > 0) {
		struct note note = { .kind = NOTE_WRITE, .offset = (uint64_t)offset, .size = (uint64_t)done };

		note.bytes = malloc((size_t)done);
		if (!note.bytes)
			abort();
		memcpy(note.bytes, bytes, (size_t)done);
		journal_note(note);
	}
	(void)pthread_mutex_unlock(&journal.lock);
	return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	return journal_write(fd, bytes, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	ssize_t all = 0;

	(void)pthread_mutex_lock(&journal.lock);
	while (journal.held)
		(void)pthread_cond_wait(&journal.changed, &journal.lock);
	(void)pthread_mutex_unlock(&journal.lock);
	for (int i = 0; i < count; i++) {
		ssize_t done = iov[i].iov_len ? journal_write(fd, iov[i].iov_base, iov[i].iov_len, offset + all) : 0;

		if (done < 0)
			return all > 0 ? all : -1;
		all += done;
		if ((size_t)done < iov[i].iov_len)
			break;
	}
	return all;
}

static inline int journal_change(int fd, struct note note, int mode)
{
	long ret;

	(void)pthread_mutex_lock(&journal.lock);
	if (note.kind == NOTE_RESIZE)
		ret = syscall(SYS_ftruncate, fd, note.size);
	else
		ret = syscall(SYS_fallocate, fd, mode, note.offset, note.size);
	if (ret == 0 && journal_watches(fd))
		journal_note(note);
	(void)pthread_mutex_unlock(&journal.lock);
	return (int)ret;
}

int ftruncate(int fd, off_t size)
{
	return journal_change(fd, (struct note){ .kind = NOTE_RESIZE, .size = (uint64_t)size }, 0);
}

/* All that is asked for is holes. */
int fallocate(int fd, int mode, off_t offset, off_t size)
{
	return journal_change(
		fd, (struct note){ .kind = NOTE_PUNCH, .offset = (uint64_t)offset, .size = (uint64_t)size }, mode);
}

/* Nothing is waited for: what a disk has is what the notes say. */
int fdatasync(int fd)
{
	int error = 0;

	if (!journal_watches(fd))
		return 0;
	(void)pthread_mutex_lock(&journal.lock);
	error = journal.sync_error;
	journal.sync_error = 0;
	if (error == 0)
		journal_note((struct note){ .kind = NOTE_SYNC });
	(void)pthread_mutex_unlock(&journal.lock);
	errno = error;
	return error ? -1 : 0;
}

static inline uint8_t *journal_read_file(const char *name, uint64_t *size)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct stat status;
	uint8_t *bytes;

	assert_true(fd >= 0 && fstat(fd, &status) == 0);
	*size = (uint64_t)status.st_size;
	bytes = malloc(*size + 1);
	assert_non_null(bytes);
	assert_int_equal(pread(fd, bytes, *size, 0), *size);
	journal.inode = status.st_ino;
	close(fd);
	return bytes;
}

static inline void journal_end(void)
{
	for (size_t i = 0; i < journal.count; i++)
		free(journal.notes[i].bytes);
	free(journal.notes);
	free(journal.first);
	free(journal.taken);
	journal.notes = NULL;
	journal.first = journal.taken = NULL;
	journal.count = journal.room = 0;
	journal.inode = 0;
	journal.sectors_left = UINT64_MAX;
	journal.taken_count = 0;
}

/* From here on, everything that happens to the file of that name. */
static inline void journal_begin(const char *name)
{
	journal_end();
	journal.first = journal_read_file(name, &journal.first_size);
}

/* The host's disk has room for no more than that, besides what the file has now. */
static inline void journal_limit(uint64_t sectors)
{
	(void)pthread_mutex_lock(&journal.lock);
	journal.sectors_left = UINT64_MAX - 1;
	(void)journal_take(0, journal.first_size);
	for (size_t i = 0; i < journal.count; i++)
		if (journal.notes[i].kind == NOTE_WRITE)
			(void)journal_take(journal.notes[i].offset, journal.notes[i].size);
	journal.sectors_left = sectors;
	(void)pthread_mutex_unlock(&journal.lock);
}

static inline void journal_hold(bool held)
{
	(void)pthread_mutex_lock(&journal.lock);
	journal.held = held;
	(void)pthread_cond_broadcast(&journal.changed);
	(void)pthread_mutex_unlock(&journal.lock);
}

/* In a list of its own: what the caller has been told by now. */
static inline void journal_promise(uint32_t promised)
{
	(void)pthread_mutex_lock(&journal.lock);
	journal_note((struct note){ .kind = NOTE_PROMISE, .promised = promised });
	(void)pthread_mutex_unlock(&journal.lock);
}

static inline size_t journal_position(void)
{
	size_t count;

	(void)pthread_mutex_lock(&journal.lock);
	count = journal.count;
	(void)pthread_mutex_unlock(&journal.lock);
	return count;
}

/* Where what was not synced before that note begins. */
static inline size_t journal_unsynced(size_t position)
{
	while (position > 0 && journal.notes[position - 1].kind != NOTE_SYNC)
		position--;
	return position;
}

/* Some sectors of a write, or all of it. */
static inline void journal_apply_write(int fd, const struct note *note, bool torn, uint32_t (*dice)(uint32_t sides))
{
	for (uint64_t done = 0; done < note->size;) {
		uint64_t now = SECTOR - (note->offset + done) % SECTOR;

		now = torn ? now : note->size;
		now = note->size - done < now ? note->size - done : now;
		if (!torn || dice(2))
			assert_int_equal(syscall(SYS_pwrite64, fd, note->bytes + done, now, note->offset + done), now);
		done += now;
	}
}

static inline void journal_apply(int fd, const struct note *note, bool torn, uint32_t (*dice)(uint32_t sides))
{
	switch (note->kind) {
	case NOTE_WRITE:
		journal_apply_write(fd, note, torn, dice);
		break;
	case NOTE_RESIZE:
		assert_int_equal(syscall(SYS_ftruncate, fd, note->size), 0);
		break;
	case NOTE_PUNCH:
		assert_int_equal(syscall(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, note->offset,
					 note->size),
				 0);
		break;
	case NOTE_SYNC:
	case NOTE_PROMISE:
		break;
	}
}

/*
 * What a disk may hold when the power fails before note `position`: all that was synced, and of the rest what kept()
 * says: 0: no, 1: yes, 2: some sectors of it.
 */
static inline void journal_cut(const char *name, size_t position, int (*kept)(size_t note, void *context),
			       void *context, uint32_t (*dice)(uint32_t sides))
{
	size_t unsynced = journal_unsynced(position);
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(syscall(SYS_pwrite64, fd, journal.first, journal.first_size, 0), journal.first_size);
	for (size_t i = 0; i < position; i++) {
		int keep = i < unsynced ? 1 : kept ? kept(i, context) : 0;

		if (keep)
			journal_apply(fd, &journal.notes[i], keep == 2, dice);
	}
	close(fd);
}

#endif
