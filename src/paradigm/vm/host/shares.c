/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/shares.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paradigm/vm/fs/serve.h"
#include "paradigm/vm/host/confine.h"

static int confine(struct error *err)
{
	return confine_thread(CONFINE_FILES, err);
}

int shares_start(struct shares *shares, struct vm_config *config, struct error *err)
{
	enum fs_protocol protocol = config->engine == VM_ENGINE_KVM ? FS_MESSAGES : FS_VHOST_USER;

	for (size_t i = 0; i < config->shares_count; i++) {
		struct vm_share *share = &config->shares[i];
		int ret = fs_start(share->fd, share->read_only, protocol, confine, &share->server,
				   &shares->pids[shares->count], err);

		if (ret < 0)
			return error_wrap(err, "share %s", share->tag), ret;
		shares->count++;
		close(share->fd);
		share->fd = -1;
	}
	return 0;
}

int shares_check(struct shares *shares, struct error *err)
{
	int status;

	for (size_t i = 0; i < shares->count; i++) {
		if (shares->pids[i] <= 0 || waitpid(shares->pids[i], &status, WNOHANG) <= 0)
			continue;
		shares->pids[i] = 0;
		if (WIFSIGNALED(status))
			return error_set(err, EIO, "the server of a shared directory was killed by signal %d",
					 WTERMSIG(status));
		/* Or the guest would wait for its answers for ever. */
		if (WEXITSTATUS(status) != 0)
			return error_set(err, EIO, "the server of a shared directory has given up");
	}
	return 0;
}

void shares_stop(struct shares *shares)
{
	while (shares->count > 0) {
		pid_t pid = shares->pids[--shares->count];

		if (pid <= 0)
			continue;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
}
