/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What test kernels ask of QEMU's fw_cfg (docs/specs/fw_cfg.rst there): a selector of 16 bits, and a data port that
 * gives an item's bytes one after the other, then zeros.  No files, no DMA; writes to the data port are lost, as there.
 */
#include <stdlib.h>
#include <string.h>

#include "paradigm/vm/device/fw_cfg.h"

enum {
	ITEM_SIGNATURE = 0x00,
	ITEM_ID = 0x01, /* which interfaces there are */
	ITEM_MEMORY = 0x03,
	ITEM_CPUS = 0x05,
	ITEM_CPUS_MAX = 0x0f,
	ID_PORTS = 1 << 0,
	SELECTOR = 0,
	DATA = 1,
};

struct fw_cfg {
	struct device device;
	uint64_t memory;
	uint32_t vcpus;
	uint16_t item;
	unsigned at; /* in the item; stays at its end */
};

static uint64_t value_of(const struct fw_cfg *config)
{
	uint64_t signature = 0;

	switch (config->item) {
	case ITEM_SIGNATURE:
		memcpy(&signature, "QEMU", 4);
		return signature;
	case ITEM_ID:
		return ID_PORTS;
	case ITEM_MEMORY:
		return config->memory;
	case ITEM_CPUS:
	case ITEM_CPUS_MAX:
		return config->vcpus;
	default:
		return 0;
	}
}

static void fw_cfg_read(struct device *device, unsigned range, uint64_t offset, void *data, unsigned size)
{
	struct fw_cfg *config = (struct fw_cfg *)device;
	uint64_t value = value_of(config);

	(void)range;
	memset(data, 0, size);
	if (offset != DATA || size != 1 || config->at >= sizeof(value))
		return;
	memcpy(data, (const uint8_t *)&value + config->at++, 1);
}

static void fw_cfg_write(struct device *device, unsigned range, uint64_t offset, const void *data, unsigned size)
{
	struct fw_cfg *config = (struct fw_cfg *)device;

	(void)range;
	/* Kernels write the selector with all of a register, too. */
	if (offset != SELECTOR || size < sizeof(config->item))
		return;
	memcpy(&config->item, data, sizeof(config->item));
	config->at = 0;
}

static const struct device_ops fw_cfg_ops = {
	.name = "fw-cfg",
	.read = fw_cfg_read,
	.write = fw_cfg_write,
	.free = device_free,
};

struct device *fw_cfg_make(uint64_t memory, uint32_t vcpus)
{
	struct fw_cfg *config = calloc(1, sizeof(*config));

	if (!config)
		return NULL;
	device_init(&config->device, &fw_cfg_ops);
	config->memory = memory;
	config->vcpus = vcpus;
	return &config->device;
}
