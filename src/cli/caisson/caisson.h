/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson - what the engine's commands share.
 *
 * Each command is one file with its table of flags and its function; main.c
 * puts them into one table.  Commands print and decide exit codes; how things
 * are done is the engine's (engine/) and the image store's (image/).
 *
 * Exit codes are docker's: 0, 1 for a command that failed, and of run and exec
 * 125 (the engine failed), 126 (the command cannot be executed), 127 (it was
 * not found), 128 + N (it was killed by signal N), else the command's own.
 */
#ifndef CAISSON_CLI_CAISSON_H
#define CAISSON_CLI_CAISSON_H

#include <stdbool.h>
#include <time.h>

#include <jansson.h>

#include "base/error.h"
#include "cli/format.h"
#include "cli/options.h"
#include "engine/engine.h"
#include "engine/launch.h"

enum { EXIT_ENGINE = 125 };

/* Flags before the command. */
struct globals {
	const char *root;
	bool debug, version;
};

/* The context of struct cli. */
struct program {
	struct globals flags;
	const char *root; /* --root, or NULL */
	bool engine_open;
	struct engine engine;
	char *self, *monitor, *init; /* paths of the programs that belong together; owned */
};

static inline struct program *program_of(struct cli *cli)
{
	return cli->context;
}

/* Opens the engine once; NULL after printing why it cannot be opened. */
struct engine *program_engine(struct cli *cli);

/* What launching needs to know of the program. */
struct launch_options program_launch_options(struct cli *cli);

/* "caisson: MESSAGE" on stderr; returns code. */
int program_fail(struct cli *cli, const struct error *err, int code);
int program_say(struct cli *cli, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * Does the same to each operand, printing it when it was done and the error when it was not; returns 1 if one failed.
 * flags are instance_open()'s.
 */
int for_each_instance(struct cli *cli, int flags, char **operands, int count,
		      int (*act)(struct cli *cli, struct instance *instance, void *context, struct error *err),
		      void *context);

/* The instance that an operand names; 0, or prints and returns -errno. */
int open_instance(struct cli *cli, const char *what, int flags, struct instance *instance);

/* Prints rows by format; returns the exit code. */
int show_rows(struct cli *cli, const struct format *format, json_t *rows);

/* Attaches the command's own stdio to an instance; returns the exit code to end with.  *detached: the user left, the
 * instance runs on. */
struct attach_wishes {
	bool input, output, errors, pass_signals;
	const char *detach_keys; /* NULL: ctrl-p,ctrl-q */
};
int attach_stdio(struct cli *cli, struct instance *instance, int client, const struct attach_wishes *wishes,
		 bool *detached);

/* Flags that make the documents of run, create and update. */
struct container_flags {
	json_t *document; /* engine/document.h */
	struct option_list env_files, label_files, attach;
	const char *name, *pull, *platform, *detach_keys, *entrypoint, *snapshot;
	bool detach, no_sig_proxy, quiet;
};
/* The tables (NULL-terminated), for run and for create. */
extern const struct cli_option run_options[], create_options[], update_options[];
int container_flags_open(struct container_flags *flags, struct error *err);
/* Completes the document once all flags are there: files are read, what contradicts is refused. */
int container_flags_finish(struct container_flags *flags, char **operands, int count, struct error *err);
void container_flags_close(struct container_flags *flags);

/* container_fields.c: sets the property of document that flag stands for. */
int container_field(json_t *document, const char *flag, const char *value, struct error *err);

/* machine_flags.c: the flags about what isolates, and whether they fit together. */
int machine_flag(void *target, const struct cli_option *option, const char *value, struct error *err);
int machine_flags_check(const json_t *document, struct error *err);

/* KEY=VALUE lines of an --env-file, appended to list. */
int read_env_file(const char *path, json_t *list, bool labels, struct error *err);
/* "-e NAME" takes the caller's value; NULL with err for what is no UTF-8. */
json_t *env_of_flag(const char *text, struct error *err);

/* The commands, by file. */
extern const struct command root_commands[], image_commands[], container_commands[], volume_commands[],
	kernel_commands[], snapshot_commands[], system_commands[], vm_commands[];
int help_command(struct cli *cli, int argc, char **argv);
int completion_command(struct cli *cli, int argc, char **argv);
int complete_command(struct cli *cli, int argc, char **argv);
int run_command(struct cli *cli, int argc, char **argv);
int create_command(struct cli *cli, int argc, char **argv);
int start_command(struct cli *cli, int argc, char **argv);
int stop_command(struct cli *cli, int argc, char **argv);
int restart_command(struct cli *cli, int argc, char **argv);
int kill_command(struct cli *cli, int argc, char **argv);
int pause_command(struct cli *cli, int argc, char **argv);
int unpause_command(struct cli *cli, int argc, char **argv);
int rm_command(struct cli *cli, int argc, char **argv);
int wait_command(struct cli *cli, int argc, char **argv);
int rename_command(struct cli *cli, int argc, char **argv);
int prune_command(struct cli *cli, int argc, char **argv);
int port_command(struct cli *cli, int argc, char **argv);
int update_command(struct cli *cli, int argc, char **argv);
int exec_command(struct cli *cli, int argc, char **argv);
int attach_command(struct cli *cli, int argc, char **argv);
int logs_command(struct cli *cli, int argc, char **argv);
int ps_command(struct cli *cli, int argc, char **argv);
int inspect_command(struct cli *cli, int argc, char **argv);
int container_inspect_command(struct cli *cli, int argc, char **argv);
int image_inspect_command(struct cli *cli, int argc, char **argv);
int top_command(struct cli *cli, int argc, char **argv);
int stats_command(struct cli *cli, int argc, char **argv);
int info_command(struct cli *cli, int argc, char **argv);
int df_command(struct cli *cli, int argc, char **argv);
int version_command(struct cli *cli, int argc, char **argv);
int settle_command(struct cli *cli, int argc, char **argv);
int images_command(struct cli *cli, int argc, char **argv);
int rmi_command(struct cli *cli, int argc, char **argv);
int load_command(struct cli *cli, int argc, char **argv);
int save_command(struct cli *cli, int argc, char **argv);
int import_command(struct cli *cli, int argc, char **argv);
int tag_command(struct cli *cli, int argc, char **argv);
int history_command(struct cli *cli, int argc, char **argv);

/* Tables of flags that main.c needs, each in its command's file. */
extern const struct cli_option start_options[], stop_options[], kill_options[], rm_options[], exec_options[],
	attach_options[], logs_options[], ps_options[], inspect_options[], stats_options[], format_option[],
	images_options[], rmi_options[], load_options[], save_options[], import_options[], history_options[],
	force_option[], df_options[];

/* "0c5638ef8976", or all of the id; new. */
json_t *image_short_id(const char *id, bool whole);
/* "9 minutes ago", "N/A" */
void image_created_text(time_t created, char text[static 64]);

/* instance -> docker's inspect object; new. */
json_t *inspect_instance(struct instance *instance, bool size, struct error *err);

#endif
