/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the disks of a configuration. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "paradigm/vm/machine/private.h"

static void close_chain(struct block_source *chain, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(chain[i].fd);
}

/* Topmost first, as the configuration has it.  The configuration keeps its own descriptors. */
static int fill_chain(const struct vm_disk *disk, struct block_source chain[static VM_CHAIN_MAX], struct error *err)
{
	for (size_t i = 0; i < disk->chain_count; i++) {
		const char *format = disk->chain[i].format ? disk->chain[i].format : "";
		bool raw = strcmp(format, "raw") == 0;
		int fd = raw || strcmp(format, "qcow2") == 0 ? fcntl(disk->chain[i].fd, F_DUPFD_CLOEXEC, 3) : -1;

		if (fd < 0) {
			close_chain(chain, i);
			return raw || strcmp(format, "qcow2") == 0
				       ? error_errno(err, errno, "open a disk")
				       : error_set(err, EINVAL, "there are no disks of format \"%s\"", format);
		}
		chain[i] = (struct block_source){ .fd = fd,
						  .format = raw ? BLOCK_RAW : BLOCK_QCOW2,
						  .read_only = disk->read_only || i > 0 };
		if (i > 0)
			chain[i - 1].backing = &chain[i];
	}
	return 0;
}

int machine_open_disk(struct machine *machine, const struct vm_disk *disk, struct block **block, struct error *err)
{
	struct block_source chain[VM_CHAIN_MAX] = { { .fd = -1 } };
	int result;

	if (disk->chain_count == 0 || disk->chain_count > VM_CHAIN_MAX)
		return error_set(err, EINVAL, "a disk of %zu files", disk->chain_count);
	if (machine->disks_count == VM_DISKS_MAX)
		return error_set(err, ENOSPC, "a machine with more than %d disks", VM_DISKS_MAX);
	result = fill_chain(disk, chain, err);
	if (result < 0)
		return result;
	result = block_open(chain, &machine->io.loop, block, err);
	if (result < 0)
		close_chain(chain, disk->chain_count);
	else
		machine->disks[machine->disks_count++] = *block;
	return result;
}
