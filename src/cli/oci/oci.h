/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci - what the commands of caisson-oci share.
 *
 * caisson-oci takes runc's place under podman, containerd, CRI-O and buildah:
 * its flags, output formats, exit codes, and the words of its errors are
 * runc's, because programs read them.  Each command is one file here: it
 * parses its flags, asks runtime/runtime.h, and says what came of it.
 *
 * Errors are one line at level "error" in the log (--log, stderr by default);
 * with a log file the same words go to stderr, too, as in runc.  Exit codes:
 * 1 for errors, 255 when exec fails, else the status of the process.
 */
#ifndef CAISSON_CLI_OCI_OCI_H
#define CAISSON_CLI_OCI_OCI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/options.h"
#include "runtime/runtime.h"

/* Global flags and what came of them; struct cli's context. */
struct oci {
	const char *program;  /* what we were called: "caisson-oci", or "runc" through a link */
	const char *paradigm; /* that our name asks for, or NULL */
	struct log log;
	const char *root, *log_path, *log_format, *criu, *rootless, *cgroup_manager;
	bool debug, systemd_cgroup, version;
};

enum { OCI_EXIT_ERROR = 1, OCI_EXIT_NO_COMMAND = 3, OCI_EXIT_EXEC = 255 };

extern const struct command oci_commands[];
extern const struct cli_option oci_globals[];

/* Logs an error (and prints it, when the log is a file); returns code, for commands to end with. */
int oci_fail(const struct oci *oci, const struct error *err, int code);

/* For struct cli: usage errors and help in runc's form. */
void oci_report(struct cli *cli, const char *message);
void oci_help(const struct cli *cli);

/*
 * Parses the command's flags into target and checks that between min and max operands are left (max -1: any number).
 * On success *argc and *argv are the operands.  False: return *code; what there was to say has been said.
 */
bool oci_arguments(struct cli *cli, void *target, int min, int max, int *argc, char ***argv, int *code);

/* Opens the runtime by the global flags. */
int oci_open(struct oci *oci, struct runtime *runtime, struct error *err);

/* A runtime and one of its containers. */
struct instance {
	struct runtime runtime;
	struct container container;
};
#define INSTANCE_INIT ((struct instance){ .container = { .dir_fd = -1 } })
int instance_open(struct oci *oci, const char *id, int flags, struct instance *instance, struct error *err);
void instance_close(struct instance *instance);
#define cleanup_instance __attribute__((cleanup(instance_close)))

/* Writes all of text to standard output. */
int oci_print(const char *text, struct error *err);

/* Go's durations, "5s", "100ms", "1m30s", into milliseconds, rounded up; -EINVAL. */
int oci_parse_duration(const char *text, int64_t *milliseconds);

/* Descriptors 3 .. 2+count must be there to be preserved. */
int oci_check_preserved(int64_t count, struct error *err);

/* Sends a pidfd of process pid through the AF_UNIX socket at path; name says what kind of process it is. */
int oci_send_pidfd(const char *path, pid_t pid, const char *name, struct error *err);

/* What --detach, process.terminal and --console-socket may be together. */
int oci_check_console(bool detach, bool terminal, const char *socket, struct error *err);

#define OCI_COMMAND(name)                                       \
	int oci_##name(struct cli *cli, int argc, char **argv); \
	extern const struct cli_option oci_##name##_options[];  \
	extern const char oci_##name##_details[]
OCI_COMMAND(checkpoint);
OCI_COMMAND(completion);
OCI_COMMAND(create);
OCI_COMMAND(delete);
OCI_COMMAND(events);
OCI_COMMAND(exec);
OCI_COMMAND(features);
OCI_COMMAND(kill);
OCI_COMMAND(list);
OCI_COMMAND(pause);
OCI_COMMAND(ps);
OCI_COMMAND(restore);
OCI_COMMAND(resume);
OCI_COMMAND(run);
OCI_COMMAND(spec);
OCI_COMMAND(start);
OCI_COMMAND(state);
OCI_COMMAND(update);
#undef OCI_COMMAND

#endif
