/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for virtual machines, of every kind, into a small guest: nothing is read or written outside its memory. */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "paradigm/vm/boot/load.h"
#include "paradigm/vm/machine/layout.h"

enum { MEMORY = 32 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int kernel = -1;
	struct guest_region regions[2];
	struct guest_memory memory;
	struct boot_state state;
	struct boot_image image = { .initrd = -1, .command_line = "console=ttyS0" };

	if (kernel < 0)
		kernel = memfd_create("kernel", MFD_CLOEXEC);
	if (kernel < 0 || ftruncate(kernel, 0) < 0 || pwrite(kernel, data, size, 0) != (ssize_t)size)
		abort();
	if (guest_memory_make(&memory, regions, layout_regions(MEMORY, regions), 0, NULL) < 0)
		abort();
	image.kernel = kernel;
	if (size & 1)
		image.initrd = kernel;
	if (boot_load(&image, &memory, LAYOUT_ACPI, &state, NULL) == 0 &&
	    (state.gdt_base == 0 || !guest_memory_at(&memory, state.gdt_base, state.gdt_limit + UINT64_C(1))))
		abort();
	guest_memory_free(&memory);
	return 0;
}
