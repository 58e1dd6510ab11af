/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime - the OCI runtime specification's config.json, as plain structs.
 *
 * Follows https://github.com/opencontainers/runtime-spec, version 1.2 with the
 * additions of 1.3 that Linux has: config.md and config-linux.md.  Field names
 * are the document's, in snake case.  Parsing checks types, ranges, and what
 * the document says MUST hold by itself (needs no kernel); it does nothing.
 * What a document does not say is NULL, an empty array, or set == false.
 *
 * All memory, strings included, belongs to the spec and is freed at once by
 * oci_spec_free().  Unknown properties are ignored, as the document demands,
 * and so is null, which Go programs write for "not set"; a property that is
 * there twice is an error, for two programs could read it differently.  A
 * wrong type is an error that names the property:
 *
 *     linux.resources.memory.limit: expected an integer, got a string
 */
#ifndef CAISSON_SPEC_RUNTIME_H
#define CAISSON_SPEC_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"

/* The version of the specification that our own documents (state, spec) say they follow: what of 1.3 is here are
 * additions to config.json, which older versions read over.  Minimum and maximum: what is understood. */
#define OCI_VERSION	"1.2.0"
#define OCI_VERSION_MIN "1.0.0"
#define OCI_VERSION_MAX "1.3.0"

struct oci_u64 {
	bool set;
	uint64_t value;
};
struct oci_i64 {
	bool set;
	int64_t value;
};
struct oci_bool {
	bool set;
	bool value;
};

struct oci_strings {
	size_t count;
	const char **items;
}; /* items[count] is NULL, so it can be argv or envp */

struct oci_pair {
	const char *key, *value;
};
struct oci_pairs {
	size_t count;
	struct oci_pair *items;
};

struct oci_id_mapping {
	uint32_t container_id, host_id, size;
};
struct oci_id_mappings {
	size_t count;
	struct oci_id_mapping *items;
};

struct oci_mount {
	const char *destination; /* absolute: a relative one (deprecated) is taken as below "/" */
	const char *type, *source;
	struct oci_strings options;
	struct oci_id_mappings uid_mappings, gid_mappings;
};

struct oci_rlimit {
	const char *type;
	uint64_t soft, hard;
}; /* type: "RLIMIT_NOFILE"; known names only */

/* Capability sets as bit masks, bit N is capability N of <linux/capability.h>.  Names that this build does not know are
 * ignored with a warning (the document: SHOULD log) and listed in unknown. */
struct oci_capabilities {
	bool set;
	uint64_t effective, bounding, inheritable, permitted, ambient;
	struct oci_strings unknown;
};

struct oci_scheduler {
	bool set;
	const char *policy; /* "SCHED_OTHER", ... */
	int32_t nice, priority;
	struct oci_strings flags;	    /* "SCHED_FLAG_RESET_ON_FORK", ... */
	uint64_t runtime, deadline, period; /* nanoseconds */
};

struct oci_process {
	bool set; /* config.json may lack "process" until start */
	bool terminal, no_new_privileges;
	struct oci_console_size {
		bool set;
		uint32_t height, width;
	} console_size;
	struct {
		uid_t uid;
		gid_t gid;
		struct oci_u64 umask;
		size_t additional_gids_count;
		gid_t *additional_gids;
		const char *username; /* Windows only in the document; kept for messages */
	} user;
	struct oci_strings args, env;
	const char *cwd;
	struct oci_capabilities capabilities;
	size_t rlimits_count;
	struct oci_rlimit *rlimits;
	struct oci_i64 oom_score_adj;
	const char *apparmor_profile, *selinux_label;
	struct oci_scheduler scheduler;
	struct oci_io_priority {
		bool set;
		const char *class;
		int64_t priority;
	} io_priority; /* class: "IOPRIO_CLASS_RT|BE|IDLE" */
	struct {
		const char *initial, *final;
	} exec_cpu_affinity; /* CPU lists like "0-3,7" */
};

struct oci_hook {
	const char *path;
	struct oci_strings args, env;
	struct oci_i64 timeout; /* seconds, > 0 */
};
struct oci_hook_list {
	size_t count;
	struct oci_hook *items;
};
struct oci_hooks {
	struct oci_hook_list prestart, create_runtime, create_container, start_container, poststart, poststop;
};

enum oci_namespace_type {
	OCI_NS_PID,
	OCI_NS_NETWORK,
	OCI_NS_MOUNT,
	OCI_NS_IPC,
	OCI_NS_UTS,
	OCI_NS_USER,
	OCI_NS_CGROUP,
	OCI_NS_TIME,
	OCI_NS_COUNT
};
struct oci_namespace {
	bool set;	  /* listed: a new one, or the one at path */
	const char *path; /* absolute, or NULL for a new one */
};

struct oci_device_node { /* linux.devices */
	char type;	 /* 'c', 'b', 'p' ('u' is reported as 'c') */
	const char *path;
	uint32_t major, minor;
	struct oci_u64 file_mode;
	struct oci_u64 uid, gid;
};

struct oci_device_rule { /* linux.resources.devices */
	bool allow;
	char type;		     /* 'a', 'b', 'c' */
	struct oci_i64 major, minor; /* not set or -1: all */
	bool read, write, mknod;
};

struct oci_weight_device {
	uint32_t major, minor;
	struct oci_u64 weight, leaf_weight;
};
struct oci_throttle_device {
	uint32_t major, minor;
	uint64_t rate;
};
struct oci_throttle_devices {
	size_t count;
	struct oci_throttle_device *items;
};

struct oci_resources {
	size_t devices_count;
	struct oci_device_rule *devices;
	struct {
		struct oci_i64 limit, reservation, swap, kernel, kernel_tcp; /* bytes; -1: unlimited */
		struct oci_u64 swappiness;				     /* 0..100 */
		struct oci_bool disable_oom_killer, use_hierarchy, check_before_update;
	} memory;
	struct {
		struct oci_u64 shares, period, realtime_period, burst; /* period, burst: microseconds */
		struct oci_i64 quota, realtime_runtime, idle;
		const char *cpus, *mems;
	} cpu;
	struct oci_i64 pids_limit; /* 0 and -1 mean unlimited, as in runc */
	struct {
		struct oci_u64 weight, leaf_weight;
		size_t weight_device_count;
		struct oci_weight_device *weight_device;
		struct oci_throttle_devices read_bps, write_bps, read_iops, write_iops;
	} block_io;
	struct {
		size_t count;
		struct oci_hugepage_limit {
			const char *page_size;
			uint64_t limit;
		} * items;
	} hugepage_limits; /* page_size "2MB" */
	struct {
		struct oci_u64 class_id;
		struct {
			size_t count;
			struct oci_network_priority {
				const char *name;
				uint32_t priority;
			} * items;
		} priorities;
	} network;
	struct {
		size_t count;
		struct oci_rdma_limit {
			const char *device;
			struct oci_u64 hca_handles, hca_objects;
		} * items;
	} rdma;
	struct oci_pairs unified; /* cgroup v2 file name -> content */
};

struct oci_seccomp_arg {
	uint32_t index;
	uint64_t value, value_two;
	const char *op;
}; /* op "SCMP_CMP_EQ", ... */
struct oci_seccomp_rule {
	struct oci_strings names;
	const char *action; /* "SCMP_ACT_ALLOW", ... */
	struct oci_u64 errno_ret;
	size_t args_count;
	struct oci_seccomp_arg *args;
};
struct oci_seccomp {
	bool set;
	const char *default_action;
	struct oci_u64 default_errno_ret;
	struct oci_strings architectures, flags; /* "SCMP_ARCH_X86_64", "SECCOMP_FILTER_FLAG_LOG" */
	const char *listener_path, *listener_metadata;
	size_t syscalls_count;
	struct oci_seccomp_rule *syscalls;
	const char
		*canonical; /* linux.seccomp as compact JSON with sorted keys: the filter cache's key; NULL if !set */
};

struct oci_memory_policy { /* 1.3: linux.memoryPolicy */
	bool set;
	const char *mode, *nodes; /* "MPOL_BIND", "0-1" */
	struct oci_strings flags; /* "MPOL_F_STATIC_NODES" */
};

struct oci_net_device {
	const char *host_name, *name; /* name is host_name when the document gives no other */
};				      /* 1.3: linux.netDevices */

struct oci_linux {
	struct oci_namespace namespaces[OCI_NS_COUNT];
	struct oci_id_mappings uid_mappings, gid_mappings;
	struct oci_time_offset {
		bool set;
		int64_t secs;
		uint32_t nanosecs;
	} time_offset_monotonic, time_offset_boottime;
	size_t devices_count;
	struct oci_device_node *devices;
	size_t net_devices_count;
	struct oci_net_device *net_devices;
	const char *cgroups_path;
	struct oci_resources resources;
	struct oci_intel_rdt {
		bool set;
		const char *clos_id, *l3_cache_schema, *mem_bw_schema;
		struct oci_strings schemata;
		bool enable_monitoring;
	} intel_rdt;
	struct oci_memory_policy memory_policy;
	struct oci_pairs sysctl;
	struct oci_seccomp seccomp;
	const char *rootfs_propagation; /* "shared", "slave", "private", "unbindable" and their r forms, or NULL */
	struct oci_strings masked_paths, readonly_paths;
	const char *mount_label;
	struct oci_personality {
		bool set;
		const char *domain;
		bool default_flags; /* always true once set: the document knows no flags yet */
	} personality;		    /* domain "LINUX" or "LINUX32" */
};

struct oci_vm { /* config-vm.md; paths are the host's, absolute */
	bool set;
	struct {
		const char *path;
		struct oci_strings parameters;
	} hypervisor;
	struct {
		const char *path, *initrd;
		struct oci_strings parameters;
	} kernel;
	struct {
		const char *path, *format;
	} image; /* format "raw", "qcow2", "vdi", "vmdk" or "vhd" */
	struct {
		uint32_t vcpus;	 /* 0: not said */
		uint64_t memory; /* bytes; 0: not said */
	} hardware;		 /* "hwConfig" */
};

struct oci_spec {
	const char *oci_version;
	struct {
		const char *path;
		bool readonly;
	} root;
	size_t mounts_count;
	struct oci_mount *mounts;
	struct oci_process process;
	const char *hostname, *domainname;
	struct oci_hooks hooks;
	struct oci_pairs annotations;
	struct oci_linux linux_; /* "linux" is a macro in gnu17 */
	struct oci_vm vm;
	struct arena arena; /* owns all of the above */
};

/*
 * Parses size bytes of JSON.  err->code is EINVAL for a document that is not
 * JSON (with line and column) or breaks the specification, ENOMEM.
 * The caller frees the spec with oci_spec_free() after success only.
 */
int oci_spec_parse(const char *json, size_t size, struct oci_spec *spec, struct error *err);

/* Parses a stand-alone "process" object, as `exec --process FILE` takes it.  Memory goes into arena. */
int oci_process_parse(const char *json, size_t size, struct arena *arena, struct oci_process *process,
		      struct error *err);

/* The way back: what oci_process_parse() reads as the same process (names of capabilities that this build does not know
 * are lost).  Fresh memory owned by the caller, NULL without memory. */
char *oci_process_json(const struct oci_process *process);

/* Parses a stand-alone "resources" object, as `update --resources FILE` takes it.  Memory goes into arena. */
int oci_resources_parse(const char *json, size_t size, struct arena *arena, struct oci_resources *resources,
			struct error *err);

/* The value of an annotation, or NULL. */
const char *oci_spec_annotation(const struct oci_spec *spec, const char *key);

void oci_spec_free(struct oci_spec *spec);

#endif
