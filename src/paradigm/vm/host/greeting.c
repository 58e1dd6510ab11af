/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/greeting.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

enum { BACKLOG_MAX = 256 << 10, FILE_HEAD = 16, SHARE_HEAD = 8 };

void greeting_open(struct greeting *greeting, const struct vm_config *config)
{
	*greeting = (struct greeting){ .config = config };
}

static void put_u32(struct str *out, uint32_t value)
{
	const uint8_t bytes[4] = { (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
				   (uint8_t)(value >> 24) };

	str_append_bytes(out, bytes, sizeof(bytes));
}

static int send_file(const struct vm_file *file, struct sessions *sessions, struct error *err)
{
	cleanup_str struct str payload = STR_INIT;
	struct stat st;
	char *content = NULL;
	size_t size = 0;
	int ret;

	if (fstat(file->fd, &st) < 0)
		return error_errno(err, errno, "mounts[%u]: the file for the virtual machine", file->mount);
	ret = file_read_fd(file->fd, AGENT_FRAME_MAX - FILE_HEAD, &content, &size, err);
	if (ret < 0)
		return error_wrap(err, "mounts[%u]: the file for the virtual machine", file->mount);
	put_u32(&payload, file->mount);
	put_u32(&payload, st.st_mode & 07777);
	put_u32(&payload, st.st_uid);
	put_u32(&payload, st.st_gid);
	str_append_bytes(&payload, content, size);
	free(content);
	if (str_failed(&payload))
		return error_set(err, ENOMEM, "no memory for the virtual machine's files");
	sessions_put(sessions, AGENT_FILE, payload.text, payload.length);
	return 0;
}

static int send_share(const struct vm_share *share, struct sessions *sessions, struct error *err)
{
	cleanup_str struct str payload = STR_INIT;

	put_u32(&payload, share->mount);
	put_u32(&payload, share->read_only);
	str_append(&payload, share->tag);
	if (str_failed(&payload) || payload.length > SHARE_HEAD + AGENT_TEXT_MAX)
		return error_set(err, ENOMEM, "mounts[%u]: no memory for its name", share->mount);
	sessions_put(sessions, AGENT_SHARE, payload.text, payload.length);
	return 0;
}

static int send_network(struct greeting *greeting, struct sessions *sessions, struct error *err)
{
	const char *network = greeting->config->network;

	greeting->network = true;
	if (strlen(network) > AGENT_NETWORK_MAX)
		return error_set(err, E2BIG, "the network's description is too long");
	sessions_put(sessions, AGENT_NETWORK, network, strlen(network));
	return 0;
}

int greeting_go_on(struct greeting *greeting, struct sessions *sessions, struct error *err)
{
	const struct vm_config *config = greeting->config;
	int ret = 0;

	while (ret == 0 && sessions_backlog(sessions) < BACKLOG_MAX) {
		if (greeting->files < config->files_count)
			ret = send_file(&config->files[greeting->files++], sessions, err);
		else if (greeting->shares < config->shares_count)
			ret = send_share(&config->shares[greeting->shares++], sessions, err);
		else if (config->network && !greeting->network)
			ret = send_network(greeting, sessions, err);
		else
			return 0;
	}
	return ret < 0 ? ret : 1;
}
