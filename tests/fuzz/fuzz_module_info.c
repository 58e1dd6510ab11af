/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel module says of itself: every value lies within the module. */
#include <errno.h>

#include "fuzz.h"
#include "paradigm/vm/boot/module.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = { "depends", "vermagic", "" };

	if (module_unsigned_size(data, size) > size)
		abort();

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const char *value;
		size_t length;
		int ret = module_info(data, size, keys[i], &value, &length, NULL);

		if (ret != 0 && ret != -ENODATA && ret != -ENOEXEC)
			abort();
		if (ret == 0 && (value < (const char *)data || value + length > (const char *)data + size ||
				 memchr(value, '\0', length)))
			abort();
	}
	return 0;
}
