/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec - an instance's record becomes its config.json.
 *
 * What comes out is an OCI runtime specification (config.md, config-linux.md)
 * and from then on the only description: the runtime knows nothing else.
 * Defaults (capabilities, mounts, masked paths, device rules, seccomp) are
 * docker's.  Everything that has to be looked up on the machine is looked up
 * before and given as facts, so that the same record and facts always give
 * the same text.
 */
#ifndef CAISSON_ENGINE_SPEC_H
#define CAISSON_ENGINE_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "image/user.h"

/* A namespace that another instance lends, by the path of its process 1's. */
struct spec_namespaces {
	char network[64], pid[64], ipc[64], uts[64], user[64], cgroup[64]; /* "" if none is lent */
};

struct spec_facts {
	const char *directory; /* the instance's: hostname, hosts and resolv.conf are in it */
	const char *rootfs;    /* where the root is attached: absolute */
	const char *disk,
		*disk_base;   /* a qcow2 image with the root, and the raw one that it stands on; NULL: no disk */
	bool own_kernel;      /* struct paradigm; only then: */
	const char *kernels;  /* directory of kernels; NULL: the system's */
	const char *snapshot; /* directory of the saved machine to begin from; NULL: none */
	const struct image_user *user;
	const gid_t *extra_groups;
	size_t extra_groups_count;
	struct spec_namespaces namespaces;
	const char *cgroup; /* cgroupsPath; NULL: the runtime's choice */
	json_t *seccomp;    /* linux.seccomp from a file; NULL: by the record */
	const char *init;   /* the host's caisson-init, for HostConfig.Init */
	bool rootless;
};

/* A new value; NULL with err set (-EINVAL: something in the record cannot be). */
json_t *spec_build(const json_t *record, const struct spec_facts *facts, struct error *err);

/*
 * The "process" of config.json, for an exec in it: another command, and what else options says ({"Cmd", "Env",
 * "WorkingDir", "Tty", "Privileged", "NoNewPrivileges"}).
 */
json_t *spec_exec_process(const json_t *config, const json_t *options, const struct image_user *user,
			  struct error *err);

/*
 * The document as text and back.  jansson's integers end at 2^63 - 1, which stands for "unlimited" in rlimits; in the
 * text it is the specification's 2^64 - 1.
 */
char *spec_text(const json_t *config);
json_t *spec_load(const char *text);

/* Where an instance with HostConfig.Init finds its process 1. */
#define SPEC_INIT_PATH "/dev/init"

/* For spec.c: the parts. */
json_t *spec_build_mounts(const json_t *record, const struct spec_facts *facts);
json_t *spec_build_resources(const json_t *record, struct error *err);
/* linux.devices, and the rules for them are appended to rules. */
json_t *spec_build_devices(const json_t *record, const struct spec_facts *facts, json_t *rules, struct error *err);
/* The capabilities that the record grants: bit N is capability N; -EINVAL for an unknown name. */
int spec_capabilities(const json_t *record, uint64_t *mask, struct error *err);
json_t *spec_capability_names(uint64_t mask);

#endif
