/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/ext4.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/clone.h"

enum { OUTPUT_MAX = 1024, MISSING = 127 };

/* All that the host's /etc/mke2fs.conf could say otherwise. */
static const char FEATURES[] = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,"
			       "large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
/* A file's holes are zeros: there is nothing to clear, now or when it is mounted. */
static const char EXTENDED[] = "lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1,nodiscard";

struct command {
	const char *name;
	const char *const *args;
};

/* In the child. */
__attribute__((noreturn)) static void execute(const struct command *command, int directory, int file, int output)
{
	static const char *const environment[] = { "MKE2FS_CONFIG=/dev/null", "LC_ALL=C", NULL };
	static const char *const places[] = { "/usr/sbin", "/sbin", "/usr/local/sbin" };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	/* Nobody waits for a file system that has no owner any more. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
	    dup2(output, STDERR_FILENO) >= 0 && fcntl(directory, F_SETFD, 0) == 0 && fcntl(file, F_SETFD, 0) == 0) {
		for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
			char path[64];

			(void)snprintf(path, sizeof(path), "%s/%s", places[i], command->name);
			execve(path, (char **)command->args, (char **)environment);
		}
	}
	_exit(errno == ENOENT ? MISSING : 126);
}

static int explain(int status, int output, struct error *err)
{
	char text[OUTPUT_MAX + 1];
	ssize_t count = pread(output, text, OUTPUT_MAX, 0);
	char *line;

	if (WIFEXITED(status) && WEXITSTATUS(status) == MISSING)
		return error_set(err, ENOENT, "cannot make an ext4 file system without mke2fs; install e2fsprogs");
	text[count > 0 ? count : 0] = '\0';
	for (count = (ssize_t)strlen(text); count > 0 && text[count - 1] == '\n'; count--)
		text[count - 1] = '\0';
	/* The last line tells the end, those before it how it came. */
	line = strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text;
	str_disarm(line);
	return error_set(err, strstr(line, "No space") || strstr(line, "ould not allocate") ? ENOSPC : EIO,
			 "cannot make an ext4 file system: %s", *line ? line : "mke2fs was killed");
}

static int run(const struct command *command, int directory, int file, struct error *err)
{
	cleanup_close int output = memfd_create("output", MFD_CLOEXEC), pidfd = -1;
	struct clone_options options = CLONE_OPTIONS_INIT;
	int status = 0, ret;
	pid_t pid;

	if (output < 0)
		return error_errno(err, errno, "cannot make an ext4 file system");
	options.pidfd = &pidfd;
	pid = clone_process(&options, err);
	if (pid < 0)
		return pid;
	if (pid == 0)
		execute(command, directory, file, output);
	ret = pidfd_wait(pidfd, WEXITED, &status);
	if (ret < 0)
		return error_errno(err, -ret, "cannot wait for %s", command->name);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : explain(status, output, err);
}

int ext4_make(int directory, int file, uint64_t size, struct error *err)
{
	/* Out of the way of the child's own 0, 1, 2. */
	cleanup_close int source = fcntl(directory, F_DUPFD_CLOEXEC, 3), disk = fcntl(file, F_DUPFD_CLOEXEC, 3);
	char from[FILE_FD_PATH_MAX], to[FILE_FD_PATH_MAX], blocks[24];
	const char *const make[] = { "mke2fs", "-q", "-F", "-b", "4096",    "-I", "256",    "-i",
				     "16384",  "-m", "0",  "-J", "size=16", "-O", FEATURES, "-E",
				     EXTENDED, "-d", from, to,	 blocks,    NULL };
	/* It is for what fsck(8) finds, and not in the directory. */
	const char *const tidy[] = { "debugfs", "-w", "-R", "rmdir lost+found", to, NULL };
	struct error unheard = ERROR_INIT;
	int ret;

	if (source < 0 || disk < 0 || ftruncate(file, (off_t)size) < 0)
		return error_errno(err, errno, "cannot make an ext4 file system");
	file_fd_path(source, from);
	file_fd_path(disk, to);
	(void)snprintf(blocks, sizeof(blocks), "%" PRIu64, size / 4096);
	ret = run(&(struct command){ "mke2fs", make }, source, disk, err);
	if (ret == 0 && faccessat(directory, "lost+found", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		(void)run(&(struct command){ "debugfs", tidy }, source, disk, &unheard);
	return ret;
}
