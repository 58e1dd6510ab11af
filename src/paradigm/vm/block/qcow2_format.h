/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2_format - the fields of a qcow2 file, as docs/interop/qcow2.txt of QEMU
 * names them.  All numbers are big-endian.
 */
#ifndef CAISSON_PARADIGM_VM_BLOCK_QCOW2_FORMAT_H
#define CAISSON_PARADIGM_VM_BLOCK_QCOW2_FORMAT_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define QCOW2_MAGIC 0x514649fbU /* "QFI\xfb" */

/* Offsets in the header; from QCOW2_INCOMPATIBLE on: version 3 only. */
enum {
	QCOW2_VERSION = 4,
	QCOW2_BACKING_OFFSET = 8,
	QCOW2_BACKING_SIZE = 16,
	QCOW2_CLUSTER_BITS = 20,
	QCOW2_SIZE = 24,
	QCOW2_CRYPT_METHOD = 32,
	QCOW2_L1_SIZE = 36, /* entries */
	QCOW2_L1_OFFSET = 40,
	QCOW2_REFCOUNT_TABLE_OFFSET = 48,
	QCOW2_REFCOUNT_TABLE_CLUSTERS = 56,
	QCOW2_SNAPSHOTS = 60,
	QCOW2_SNAPSHOTS_OFFSET = 64,
	QCOW2_HEADER_V2 = 72, /* bytes */
	QCOW2_INCOMPATIBLE = 72,
	QCOW2_COMPATIBLE = 80,
	QCOW2_AUTOCLEAR = 88,
	QCOW2_REFCOUNT_ORDER = 96,
	QCOW2_HEADER_LENGTH = 100,
	QCOW2_COMPRESSION = 104,
	QCOW2_HEADER_V3 = 104, /* bytes at least */
	QCOW2_HEADER_OURS = 112,
};

/* Incompatible features. */
#define QCOW2_DIRTY	       (UINT64_C(1) << 0) /* refcounts may be wrong */
#define QCOW2_CORRUPT	       (UINT64_C(1) << 1)
#define QCOW2_EXTERNAL_DATA    (UINT64_C(1) << 2)
#define QCOW2_COMPRESSION_TYPE (UINT64_C(1) << 3)
#define QCOW2_EXTENDED_L2      (UINT64_C(1) << 4)

/* Header extensions: type, length, bytes padded to 8. */
enum { QCOW2_EXTENSION_END = 0 };
#define QCOW2_EXTENSION_BACKING_FORMAT 0xe2792acaU

/* Entries of L1 and L2 tables. */
#define QCOW2_COPIED	 (UINT64_C(1) << 63) /* refcount is 1: may be written in place */
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_ZERO	 (UINT64_C(1) << 0)
#define QCOW2_OFFSET	 UINT64_C(0x00fffffffffffe00)
#define QCOW2_RESERVED	 UINT64_C(0x3f000000000001fe) /* of L2; in L1 QCOW2_COMPRESSED and QCOW2_ZERO too */

enum {
	QCOW2_L1_BYTES_MAX = 32 << 20,		  /* as QEMU has it */
	QCOW2_REFCOUNT_TABLE_BYTES_MAX = 8 << 20, /* as well */
};

static inline uint32_t qcow2_u32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return be32toh(value);
}

static inline uint64_t qcow2_u64(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return be64toh(value);
}

static inline void qcow2_put_u32(uint8_t *bytes, uint32_t value)
{
	value = htobe32(value);
	memcpy(bytes, &value, sizeof(value));
}

static inline void qcow2_put_u64(uint8_t *bytes, uint64_t value)
{
	value = htobe64(value);
	memcpy(bytes, &value, sizeof(value));
}

#endif
