/* SPDX-License-Identifier: Apache-2.0 */
/* The table of caisson's commands; those below image, volume and system are in the files of these. */
#include "cli/caisson/caisson.h"

const struct command container_commands[] = {
/* clang-format off */
#include "cli/caisson/instance_commands.inc"
	/* clang-format on */
	{
		.name = "inspect",
		.operands = "[OPTIONS] CONTAINER [CONTAINER...]",
		.summary = "Show all that is known of instances",
		.complete = "instance",
		.min_operands = 1,
		.max_operands = -1,
		.options = inspect_options,
		.run = container_inspect_command,
		.details = "Examples:\n"
			   "  caisson container inspect -f '{{.State.Pid}}' web",
	},
	{
		.name = "ls",
		.alias = "list",
		.operands = "[OPTIONS]",
		.summary = "List instances",
		.options = ps_options,
		.run = ps_command,
		.details = "Examples:\n"
			   "  caisson container ls -a",
	},
	{ .name = "ps", .operands = "[OPTIONS]", .options = ps_options, .run = ps_command },
	{
		.name = "prune",
		.operands = "[OPTIONS]",
		.summary = "Remove all stopped instances",
		.options = force_option,
		.run = prune_command,
		.details = "Examples:\n"
			   "  caisson container prune -f",
	},
	{ .name = NULL },
};

/* docker's commands for what is not built yet: a new user tries them first. */
static int later_command(struct cli *cli, int argc, char **argv)
{
	(void)argc, (void)argv;
	return program_say(cli, cli->usage_error, "'%s' comes later; %s", cli->command->name, cli->command->details);
}

#define LATER(name_, instead)                                               \
	{                                                                   \
		.name = (name_), .run = later_command, .details = (instead) \
	}
#define BRING_IN "bring images in with `caisson load` (archives of docker, podman, skopeo) or `caisson import`"

const struct command root_commands[] = {
/* clang-format off */
#include "cli/caisson/instance_commands.inc"
	/* clang-format on */
	{
		.name = "container",
		.operands = "COMMAND",
		.summary = "Manage instances",
		.commands = container_commands,
		.details = "Examples:\n"
			   "  caisson container ls -a\n"
			   "  caisson container prune -f",
	},
	{
		.name = "inspect",
		.operands = "[OPTIONS] NAME|ID [NAME|ID...]",
		.summary = "Show all that is known of instances or images",
		.complete = "instance image",
		.min_operands = 1,
		.max_operands = -1,
		.options = inspect_options,
		.run = inspect_command,
		.details = "Examples:\n"
			   "  caisson inspect web\n"
			   "  caisson inspect -f '{{.State.ExitCode}}' web\n"
			   "  caisson inspect --type image -f '{{json .Config.Cmd}}' busybox",
	},
	{
		.name = "ps",
		.operands = "[OPTIONS]",
		.summary = "List instances",
		.options = ps_options,
		.run = ps_command,
		.details = "Examples:\n"
			   "  caisson ps -a\n"
			   "  caisson ps --filter status=exited --format '{{.Names}}\\t{{.Status}}'",
	},
	{
		.name = "history",
		.group = "Images",
		.operands = "[OPTIONS] IMAGE",
		.summary = "Show how an image was made",
		.complete = "image",
		.min_operands = 1,
		.max_operands = 1,
		.options = history_options,
		.run = history_command,
		.details = "Examples:\n"
			   "  caisson history --no-trunc busybox",
	},
	{
		.name = "image",
		.group = "Images",
		.operands = "COMMAND",
		.summary = "Manage images",
		.commands = image_commands,
		.details = "Examples:\n"
			   "  caisson image load -i busybox.tar\n"
			   "  caisson image ls",
	},
	{
		.name = "images",
		.group = "Images",
		.operands = "[OPTIONS] [REPOSITORY[:TAG]]",
		.summary = "List images",
		.complete = "image",
		.max_operands = 1,
		.options = images_options,
		.run = images_command,
		.details = "Examples:\n"
			   "  caisson images\n"
			   "  caisson images --filter dangling=true -q",
	},
	{
		.name = "import",
		.group = "Images",
		.operands = "[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
		.summary = "Make an image from a root file system's tarball",
		.complete = "file;image",
		.min_operands = 1,
		.max_operands = 2,
		.options = import_options,
		.run = import_command,
		.details = "Examples:\n"
			   "  caisson import rootfs.tar.gz mine:1\n"
			   "  tar -C DIR -c . | caisson import -c 'CMD [\"/bin/sh\"]' - mine:2",
	},
	{
		.name = "load",
		.group = "Images",
		.operands = "[OPTIONS] [FILE|DIRECTORY]",
		.summary = "Load images from an OCI layout or a docker archive",
		.complete = "file",
		.max_operands = 1,
		.options = load_options,
		.run = load_command,
		.details = "Examples:\n"
			   "  docker save busybox | caisson load\n"
			   "  caisson load -i layout/ --name mine:1",
	},
	{
		.name = "rmi",
		.group = "Images",
		.operands = "[OPTIONS] IMAGE [IMAGE...]",
		.summary = "Remove images",
		.complete = "image",
		.min_operands = 1,
		.max_operands = -1,
		.options = rmi_options,
		.run = rmi_command,
		.details = "Examples:\n"
			   "  caisson rmi mine:1 mine:2",
	},
	{
		.name = "save",
		.group = "Images",
		.operands = "[OPTIONS] IMAGE [IMAGE...]",
		.summary = "Write images to an archive",
		.complete = "image",
		.min_operands = 1,
		.max_operands = -1,
		.options = save_options,
		.run = save_command,
		.details = "Examples:\n"
			   "  caisson save busybox | gzip >busybox.tar.gz\n"
			   "  caisson save --format oci-archive -o two.tar mine:1 mine:2",
	},
	{
		.name = "tag",
		.group = "Images",
		.operands = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		.summary = "Give an image one more name",
		.complete = "image",
		.min_operands = 2,
		.max_operands = 2,
		.run = tag_command,
		.details = "Examples:\n"
			   "  caisson tag busybox mine:1",
	},
	{
		.name = "completion",
		.group = "Engine",
		.operands = "bash|zsh|fish",
		.summary = "Print a script that teaches a shell to complete commands",
		.complete = "bash zsh fish",
		.min_operands = 1,
		.max_operands = 1,
		.run = completion_command,
		.details = "Examples:\n"
			   "  source <(caisson completion bash)\n"
			   "  caisson completion zsh >\"${fpath[1]}/_caisson\"\n"
			   "  caisson completion fish | source\n\n"
			   "`make install` puts them where the shells look.",
	},
	{
		.name = "help",
		.group = "Engine",
		.operands = "[COMMAND]",
		.summary = "Show help of a command",
		.max_operands = -1,
		.run = help_command,
		.details = "Examples:\n"
			   "  caisson help image load",
	},
	{
		.name = "info",
		.group = "Engine",
		.operands = "[OPTIONS]",
		.summary = "Show what the engine and the host are",
		.options = format_option,
		.run = info_command,
		.details = "Examples:\n"
			   "  caisson info -f '{{.CgroupVersion}}'",
	},
	{
		.name = "kernel",
		.group = "Engine",
		.operands = "COMMAND",
		.summary = "Manage the kernels of virtual machines",
		.commands = kernel_commands,
		.details = "Examples:\n"
			   "  caisson kernel fetch\n"
			   "  caisson kernel ls",
	},
	{
		.name = "snapshot",
		.group = "Engine",
		.operands = "COMMAND",
		.summary = "Save running machines, to begin others there",
		.commands = snapshot_commands,
		.details = "Examples:\n"
			   "  caisson snapshot create web warm\n"
			   "  caisson run --from-snapshot warm",
	},
	{
		.name = "system",
		.group = "Engine",
		.operands = "COMMAND",
		.summary = "Manage the store",
		.commands = system_commands,
		.details = "Examples:\n"
			   "  caisson system df",
	},
	{
		.name = "version",
		.group = "Engine",
		.operands = "[OPTIONS]",
		.summary = "Show the version",
		.options = format_option,
		.run = version_command,
		.details = "Examples:\n"
			   "  caisson version -f '{{.Version}}'",
	},
	{
		.name = "volume",
		.group = "Engine",
		.operands = "COMMAND",
		.summary = "Manage volumes",
		.commands = volume_commands,
		.details = "Examples:\n"
			   "  caisson volume create data\n"
			   "  caisson run --rm -v data:/srv busybox ls /srv",
	},
	LATER("build", "build with buildah or docker, and bring it in with `caisson load`"),
	LATER("commit", "take the file system out with tar, and bring it in with `caisson import`"),
	LATER("cp", "mount a directory with -v, or pipe tar through `caisson exec`"),
	LATER("diff", "`caisson inspect` names the upper directory (GraphDriver.Data.UpperDir)"),
	LATER("export", "pipe tar through `caisson exec CONTAINER tar -c /`"),
	LATER("login", BRING_IN),
	LATER("network", "an instance has --network none, host or container:NAME"),
	LATER("pull", BRING_IN),
	LATER("push", "take images out with `caisson save`"),
	LATER("search", BRING_IN),
	/* For the monitor, and for the shells. */
	{ .name = "settle", .operands = "CONTAINER LOCK", .max_operands = 2, .run = settle_command },
	{ .name = "__complete", .operands = "WORD...", .max_operands = -1, .run = complete_command },
	{
		.name = "vm",
		.group = "Engine",
		.operands = "COMMAND",
		.summary = "Run kernels in virtual machines, without images",
		.commands = vm_commands,
		.details = "Examples:\n"
			   "  caisson vm boot --kernel vmlinuz --cmdline 'console=ttyS0 panic=-1'",
	},
	{ .name = NULL },
};
