/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change - Dockerfile instructions applied to an image's config, as
 * `docker import --change` and `docker commit --change` take them.
 *
 * CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL,
 * USER, VOLUME, WORKDIR; in the syntax of the Dockerfile reference.  Private to
 * src/image.
 */
#ifndef CAISSON_IMAGE_CHANGE_H
#define CAISSON_IMAGE_CHANGE_H

#include "base/error.h"
#include "spec/image.h"

/* Applies one instruction; memory goes into config->arena.  -EINVAL names the instruction. */
int image_change(struct oci_image_config *config, const char *instruction, struct error *err);

#endif
