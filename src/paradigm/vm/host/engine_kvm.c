/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "paradigm/vm/host/engine.h"

static int make(const struct vm_config *config, struct loop *loop, const struct engine_owner *owner,
		struct engine **engine, struct error *err)
{
	(void)config, (void)loop, (void)owner, (void)engine;
	return error_set(err, EOPNOTSUPP, "the engine kvm is not there yet");
}

const struct engine_ops engine_kvm = { .name = "kvm", .make = make };
