/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/shell/hooks.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"

enum { OUTPUT_MAX = 512 };

__attribute__((noreturn)) static void execute(const struct oci_hook *hook, const char *bundle, int state_fd,
					      int output_fd)
{
	const char *only_path[] = { hook->path, NULL };
	const char **args = hook->args.count ? hook->args.items : only_path;
	sigset_t none;

	if (bundle && chdir(bundle) < 0) {
		/* taken away meanwhile: the hook runs all the same */
	}
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(state_fd, STDIN_FILENO) >= 0 && dup2(output_fd, STDOUT_FILENO) >= 0 &&
	    dup2(output_fd, STDERR_FILENO) >= 0 && fds_cloexec_from(STDERR_FILENO + 1, NULL, 0) == 0)
		/* Without an environment of its own a hook has the runtime's, as under runc: hooks count on PATH. */
		execve(hook->path, (char **)args, hook->env.count ? (char **)hook->env.items : environ);
	dprintf(STDERR_FILENO, "%s", error_words(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Waits for the end; after timeout seconds (0: never) it is killed and -ETIMEDOUT returned. */
static int wait_for(int pidfd, int64_t timeout, int *status)
{
	struct pollfd end = { .fd = pidfd, .events = POLLIN };
	int64_t limit = timeout > INT32_MAX / 1000 ? INT32_MAX / 1000 : timeout;
	int ready;

	do
		ready = poll(&end, 1, timeout ? (int)limit * 1000 : -1);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		(void)pidfd_kill(pidfd, SIGKILL);
	if (pidfd_wait(pidfd, WEXITED, status) < 0)
		return -ECHILD;
	return ready == 0 ? -ETIMEDOUT : 0;
}

/* As runc says it: callers look for "killed", "bad system call". */
static const char *signal_words(int number)
{
	return number == SIGKILL ? "killed" : number == SIGSYS ? "bad system call" : strsignal(number);
}

static int explain(const struct oci_hook *hook, int ret, int status, int output_fd, struct error *err)
{
	char output[OUTPUT_MAX + 1];
	ssize_t count = pread(output_fd, output, OUTPUT_MAX, 0);

	output[count > 0 ? count : 0] = '\0';
	output[strcspn(output, "\n")] = '\0';
	if (ret == -ETIMEDOUT)
		return error_set(err, ETIMEDOUT, "hook %s did not end within its timeout of %lld s", hook->path,
				 (long long)hook->timeout.value);
	if (WIFSIGNALED(status))
		return error_set(err, EPROTO, "error running hook %s: signal: %s, stdout: , stderr: %s", hook->path,
				 signal_words(WTERMSIG(status)), output);
	return error_set(err, EPROTO, "error running hook %s: exit status %d, stdout: , stderr: %s", hook->path,
			 WEXITSTATUS(status), output);
}

static int run_one(const struct oci_hook *hook, const char *bundle, const char *state, struct error *err)
{
	cleanup_close int state_fd = memfd_create("state", MFD_CLOEXEC),
			  output_fd = memfd_create("output", MFD_CLOEXEC);
	cleanup_close int pidfd = -1;
	struct clone_options options = CLONE_OPTIONS_INIT;
	int status = 0, ret;
	pid_t pid;

	/* Files instead of pipes: neither a hook that does not read nor one that writes much can block anyone. */
	if (state_fd < 0 || output_fd < 0 || file_write_all(state_fd, state, strlen(state)) < 0 ||
	    lseek(state_fd, 0, SEEK_SET) < 0)
		return error_errno(err, errno, "cannot hand the state to hook %s", hook->path);
	options.pidfd = &pidfd;
	pid = clone_process(&options, err);
	if (pid < 0)
		return pid;
	if (pid == 0)
		execute(hook, bundle, state_fd, output_fd);
	ret = wait_for(pidfd, hook->timeout.set ? hook->timeout.value : 0, &status);
	if (ret < 0 || status != 0)
		return explain(hook, ret, status, output_fd, err);
	return 0;
}

int hooks_run(const struct oci_hook_list *hooks, const char *name, const char *bundle, const char *state,
	      struct error *err)
{
	for (size_t i = 0; i < hooks->count; i++) {
		int ret = run_one(&hooks->items[i], bundle, state, err);

		if (ret < 0) {
			(void)error_wrap(err, "error running %s hook #%zu", name, i);
			return ret;
		}
	}
	return 0;
}
