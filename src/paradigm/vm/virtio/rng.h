/* SPDX-License-Identifier: Apache-2.0 */
/* rng - virtio 1.2, 5.4: the guest gets its entropy from getrandom(2). */
#ifndef CAISSON_PARADIGM_VM_VIRTIO_RNG_H
#define CAISSON_PARADIGM_VM_VIRTIO_RNG_H

#include "paradigm/vm/virtio/virtio.h"

/* A struct virtio; ends with ops->free(). */
int virtio_rng_make(struct guest_memory *memory, struct loop *loop, struct device **device, struct error *err);

#endif
