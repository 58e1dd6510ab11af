/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/shares.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paradigm/vm/fs/serve.h"

int shares_start(struct shares *shares, struct vm_config *config, struct error *err)
{
	enum fs_protocol protocol = config->engine == VM_ENGINE_KVM ? FS_MESSAGES : FS_VHOST_USER;

	for (size_t i = 0; i < config->shares_count; i++) {
		struct vm_share *share = &config->shares[i];
		int ret = fs_start(share->fd, share->read_only, protocol, &share->server, &shares->pids[shares->count],
				   err);

		if (ret < 0)
			return error_wrap(err, "share %s", share->tag), ret;
		shares->count++;
		close(share->fd);
		share->fd = -1;
	}
	return 0;
}

void shares_stop(struct shares *shares)
{
	while (shares->count > 0) {
		pid_t pid = shares->pids[--shares->count];

		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
}
