/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/machine/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

/*
 * Address space for a region, aligned so that huge pages of the host can be huge pages of the guest, with a page
 * without access on either side.  The mapping itself is put over it.
 */
static uint8_t *reserve(uint64_t size, uint64_t alignment)
{
	uint64_t room;
	uint8_t *first, *from;

	if (__builtin_add_overflow(size, 2 * alignment, &room))
		return MAP_FAILED;
	first = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (first == MAP_FAILED)
		return MAP_FAILED;
	from = (uint8_t *)(((uintptr_t)first + alignment) & ~(uintptr_t)(alignment - 1));
	if (from == first)
		from += alignment;
	(void)munmap(first, (size_t)(from - first) - PAGE);
	(void)munmap(from + size + PAGE, (size_t)(first + room - (from + size + PAGE)));
	return from;
}

static int map_region(struct guest_region *region, uint64_t page, int fd, int flags, struct error *err)
{
	uint64_t alignment = page > HUGE_PAGE ? page : HUGE_PAGE;
	uint8_t *host = reserve(region->size, alignment);

	if (host == MAP_FAILED)
		return error_errno(err, errno, "reserve %llu MiB of addresses for the guest's memory",
				   (unsigned long long)(region->size >> 20));
	if (mmap(host, region->size, PROT_READ | PROT_WRITE, MAP_FIXED | flags, fd, (off_t)region->offset) ==
	    MAP_FAILED) {
		int code = errno;

		(void)munmap(host - PAGE, region->size + 2 * (size_t)PAGE);
		return error_errno(err, code, "map %llu MiB of memory for the guest",
				   (unsigned long long)(region->size >> 20));
	}
	region->host = host;
	(void)madvise(host, region->size, MADV_DONTDUMP);
	return 0;
}

static int check_layout(const struct guest_region *layout, size_t count, uint64_t page, struct error *err)
{
	uint64_t free_from = 0, end;

	if (count == 0 || count > GUEST_REGIONS_MAX)
		return error_set(err, EINVAL, "guest memory of %zu regions", count);
	for (size_t i = 0; i < count; i++) {
		if (layout[i].size == 0 || layout[i].size % page || layout[i].base % page || layout[i].offset % page ||
		    layout[i].base < free_from || __builtin_add_overflow(layout[i].base, layout[i].size, &end) ||
		    layout[i].offset + layout[i].size > INT64_MAX)
			return error_set(err, EINVAL,
					 "guest memory of 0x%llx bytes at 0x%llx is not made of pages of %llu KiB",
					 (unsigned long long)layout[i].size, (unsigned long long)layout[i].base,
					 (unsigned long long)(page >> 10));
		free_from = end;
	}
	return 0;
}

static uint64_t end_of(const struct guest_region *layout, size_t count)
{
	uint64_t end = 0;

	for (size_t i = 0; i < count; i++)
		if (layout[i].offset + layout[i].size > end)
			end = layout[i].offset + layout[i].size;
	return end;
}

static int map_all(struct guest_memory *memory, const struct guest_region *layout, size_t count, int fd, int flags,
		   struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		memory->regions[i] = layout[i];
		if (map_region(&memory->regions[i], memory->page, fd, flags, err) < 0) {
			guest_memory_free(memory);
			return -err->code;
		}
		memory->count = i + 1;
	}
	return 0;
}

static int huge_memfd(const struct guest_region *layout, size_t count, uint64_t hugepages, struct error *err)
{
	unsigned flags = MFD_CLOEXEC | MFD_HUGETLB | (unsigned)__builtin_ctzll(hugepages) << MFD_HUGE_SHIFT;
	uint64_t end = end_of(layout, count);
	int fd = memfd_create("guest-memory", flags);

	if (fd < 0)
		return error_errno(err, errno, "huge pages of %llu MiB", (unsigned long long)(hugepages >> 20));
	if (ftruncate(fd, (off_t)end) < 0) {
		int code = errno;

		close(fd);
		return error_errno(err, code, "%llu MiB in huge pages", (unsigned long long)(end >> 20));
	}
	return fd;
}

/*
 * Without hugetlbfs, memory is anonymous: there transparent huge pages come as the system's default ("madvise") has
 * it, while shmem's are off on most systems; a page fault of the guest for each 4 KiB is most of what a boot costs.
 */
int guest_memory_make(struct guest_memory *memory, const struct guest_region *layout, size_t count, uint64_t hugepages,
		      struct error *err)
{
	struct error local = ERROR_INIT;

	err = err ? err : &local;
	*memory = (struct guest_memory){ .fd = -1, .page = hugepages ? hugepages : PAGE };
	if (hugepages && (hugepages & (hugepages - 1) || hugepages < HUGE_PAGE))
		return error_set(err, EINVAL, "huge pages of %llu bytes: there are those of 2M and 1G",
				 (unsigned long long)hugepages);
	if (check_layout(layout, count, memory->page, err) < 0)
		return -err->code;
	if (hugepages) {
		memory->fd = huge_memfd(layout, count, hugepages, err);
		if (memory->fd < 0)
			return -err->code;
		/* Without MAP_NORESERVE: a pool that is too small is an error here, not a SIGBUS later. */
		if (map_all(memory, layout, count, memory->fd, MAP_SHARED, err) < 0)
			return error_hint(err, "there are not enough free huge pages: see /proc/sys/vm/nr_hugepages");
		return 0;
	}
	if (map_all(memory, layout, count, -1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, err) < 0)
		return -err->code;
	for (size_t i = 0; i < count; i++)
		(void)madvise(memory->regions[i].host, memory->regions[i].size, MADV_HUGEPAGE);
	return 0;
}

int guest_memory_map(struct guest_memory *memory, const struct guest_region *layout, size_t count, int file,
		     struct error *err)
{
	struct error local = ERROR_INIT;

	struct stat status;

	err = err ? err : &local;
	*memory = (struct guest_memory){ .fd = -1, .page = PAGE, .copied = true };
	if (check_layout(layout, count, memory->page, err) < 0)
		return -err->code;
	if (fstat(file, &status) < 0)
		return error_errno(err, errno, "look at the snapshot's memory");
	/* What lies behind the end of a file is a SIGBUS. */
	if ((uint64_t)status.st_size < end_of(layout, count))
		return error_set(err, EINVAL, "the snapshot's memory has %lld bytes, and the machine %llu",
				 (long long)status.st_size, (unsigned long long)end_of(layout, count));
	return map_all(memory, layout, count, file, MAP_PRIVATE | MAP_NORESERVE, err);
}

void guest_memory_free(struct guest_memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		(void)munmap(memory->regions[i].host - PAGE, memory->regions[i].size + 2 * (size_t)PAGE);
	if (memory->fd >= 0)
		close(memory->fd);
	*memory = (struct guest_memory){ .fd = -1 };
}

static const struct guest_region *region_of(const struct guest_memory *memory, uint64_t address, uint64_t size)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];

		/* Subtractions that cannot wrap, in this order. */
		if (address >= region->base && address - region->base <= region->size &&
		    size <= region->size - (address - region->base))
			return region;
	}
	return NULL;
}

void *guest_memory_at(const struct guest_memory *memory, uint64_t address, uint64_t size)
{
	const struct guest_region *region = region_of(memory, address, size);

	return region ? region->host + (address - region->base) : NULL;
}

bool guest_memory_read(const struct guest_memory *memory, uint64_t address, void *to, size_t size)
{
	const void *from = guest_memory_at(memory, address, size);

	if (!from)
		return false;
	memcpy(to, from, size);
	return true;
}

bool guest_memory_write(struct guest_memory *memory, uint64_t address, const void *from, size_t size)
{
	void *to = guest_memory_at(memory, address, size);

	if (!to)
		return false;
	memcpy(to, from, size);
	return true;
}

uint64_t guest_memory_size(const struct guest_memory *memory)
{
	uint64_t size = 0;

	for (size_t i = 0; i < memory->count; i++)
		size += memory->regions[i].size;
	return size;
}

/* Pages of the host, all of one region. */
static int give_back(const struct guest_memory *memory, const struct guest_region *region, uint64_t first,
		     uint64_t size)
{
	uint8_t *host = region->host + first;

	if (memory->fd >= 0)
		return fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)(region->offset + first), (off_t)size);
	/* Without its own page, the snapshot's would show through again. */
	if (memory->copied)
		return mmap(host, size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			    -1, 0) == MAP_FAILED
			       ? -1
			       : 0;
	return madvise(host, size, MADV_DONTNEED);
}

int64_t guest_memory_discard(struct guest_memory *memory, uint64_t address, uint64_t size)
{
	const struct guest_region *region = region_of(memory, address, size);
	uint64_t first, last;

	if (!region)
		return -EINVAL;
	/* The pages that lie wholly inside; the alignment of guest addresses is that of the mapping. */
	first = (address - region->base + memory->page - 1) / memory->page * memory->page;
	last = (address - region->base + size) / memory->page * memory->page;
	if (first >= last)
		return 0;
	return give_back(memory, region, first, last - first) < 0 ? -errno : (int64_t)(last - first);
}

/* Whether a page has nothing in it; reading one that was never touched takes no memory of the host's. */
static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* To read a huge page that nobody has touched would take one from the pool. */
static bool is_there(const struct guest_memory *memory, uint8_t *host)
{
	unsigned char there = 0;

	return memory->fd < 0 || mincore(host, PAGE, &there) < 0 || there;
}

static bool is_data(const struct guest_memory *memory, uint8_t *page)
{
	return is_there(memory, page) && !is_zero(page);
}

static int save_region(const struct guest_memory *memory, const struct guest_region *region, int file,
		       struct error *err)
{
	int ret;

	for (uint64_t at = 0, end; at < region->size; at = end) {
		for (; at < region->size && !is_data(memory, region->host + at); at += PAGE)
			;
		for (end = at; end < region->size && end - at < HUGE_PAGE && is_data(memory, region->host + end);
		     end += PAGE)
			;
		ret = file_write_at(file, region->host + at, end - at, region->offset + at);
		if (ret < 0)
			return error_errno(err, -ret, "write the guest's memory");
	}
	return 0;
}

int guest_memory_save(const struct guest_memory *memory, int file, struct error *err)
{
	if (ftruncate(file, 0) < 0 || ftruncate(file, (off_t)end_of(memory->regions, memory->count)) < 0)
		return error_errno(err, errno, "make room for the guest's memory");
	for (size_t i = 0; i < memory->count; i++)
		if (save_region(memory, &memory->regions[i], file, err) < 0)
			return -EIO;
	return 0;
}
