/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure - commands against each other, interleaved, so that a noisy moment
 * hits them all.
 *
 *     measure [-d] [-n ROUNDS] [-w WARMUP] NAME COMMAND [NAME COMMAND]...
 *
 * COMMAND is split at spaces; "{}" in a word becomes a number that is new in
 * every run.  One line a command, tab-separated: name, median, minimum (wall
 * time, milliseconds), median CPU time (milliseconds, of all that the command
 * started, monitors and other orphans included), largest resident set (KiB),
 * runs that failed.  With -d what a command leaves is not waited for, nor
 * counted: detached instances stay.  Commands run at nice -20 where that is
 * allowed: other load of this session is then waited out less.  (Not
 * SCHED_FIFO: a real-time task cannot enter a v1 cpu cgroup without a budget.)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COMMANDS_MAX = 16, WORDS_MAX = 64, WORD_MAX = 512, ROUNDS_MAX = 10000 };

struct command {
	const char *name, *text;
	double *wall, *cpu; /* milliseconds, one a round */
	long max_rss;	    /* KiB */
	int failed;
};

static double now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static double milliseconds(struct timeval time)
{
	return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3;
}

/* Splits at spaces into words, with {} replaced. */
static void split(const char *text, int number, char words[WORDS_MAX][WORD_MAX], char *argv[WORDS_MAX + 1])
{
	int count = 0;

	while (*text && count < WORDS_MAX) {
		size_t length = strcspn(text, " "), used = 0;

		for (size_t i = 0; i < length && used < WORD_MAX - 16; i++) {
			if (text[i] == '{' && text[i + 1] == '}') {
				used += (size_t)snprintf(words[count] + used, WORD_MAX - used, "%d-%d", (int)getppid(),
							 number);
				i++;
			} else {
				words[count][used++] = text[i];
			}
		}
		words[count][used] = '\0';
		argv[count] = words[count];
		count++;
		text += length;
		text += strspn(text, " ");
	}
	argv[count] = NULL;
}

/* CPU time of all children that were waited for, ever. */
static double children_cpu(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_CHILDREN, &usage);
	return milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime);
}

/* What a command leaves behind it, a monitor or somebody who cleans up, is ours to wait for, and a part of its price.
 */
static void reap_orphans(void)
{
	enum { PATIENCE = 500 };

	for (int tries = 0; tries < PATIENCE;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			return;
		if (pid == 0) {
			(void)poll(NULL, 0, 1);
			tries++;
		}
	}
}

static void run(struct command *command, int number, int round, int output, bool detached)
{
	static char words[WORDS_MAX][WORD_MAX];
	char *argv[WORDS_MAX + 1];
	struct rusage usage;
	double start = now(), wall, cpu = children_cpu();
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		split(command->text, number, words, argv);
		if (dup2(output, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
		    dup2(output, STDERR_FILENO) < 0)
			_exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) < 0) {
		perror("measure");
		exit(1);
	}
	wall = now() - start;
	if (!detached)
		reap_orphans();
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		command->failed++;
	if (round < 0)
		return;
	command->wall[round] = wall;
	command->cpu[round] = children_cpu() - cpu;
	if (usage.ru_maxrss > command->max_rss)
		command->max_rss = usage.ru_maxrss;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
	struct command commands[COMMANDS_MAX] = { 0 };
	int rounds = 30, warmup = 3, count = 0, number = 0, option, output;
	bool detached = false;

	while ((option = getopt(argc, argv, "dn:w:")) != -1) {
		if (option == 'n')
			rounds = atoi(optarg);
		else if (option == 'w')
			warmup = atoi(optarg);
		else if (option == 'd')
			detached = true;
		else
			return 2;
	}
	if (rounds < 1 || rounds > ROUNDS_MAX || (argc - optind) % 2 || argc - optind > 2 * COMMANDS_MAX ||
	    optind >= argc) {
		(void)fprintf(stderr, "usage: measure [-d] [-n ROUNDS] [-w WARMUP] NAME COMMAND [NAME COMMAND]...\n");
		return 2;
	}
	output = memfd_create("output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	(void)setpriority(PRIO_PROCESS, 0, -20);
	(void)prctl(PR_SET_CHILD_SUBREAPER, detached ? 0 : 1, 0, 0, 0);
	for (int i = optind; i < argc; i += 2) {
		struct command *command = &commands[count++];

		command->name = argv[i];
		command->text = argv[i + 1];
		command->wall = calloc((size_t)rounds, sizeof(double));
		command->cpu = calloc((size_t)rounds, sizeof(double));
		if (!command->wall || !command->cpu)
			return 1;
	}
	for (int round = -warmup; round < rounds; round++) {
		for (int i = 0; i < count; i++)
			run(&commands[i], ++number, round, output, detached);
		(void)ftruncate(output, 0);
		(void)lseek(output, 0, SEEK_SET);
	}
	for (int i = 0; i < count; i++) {
		qsort(commands[i].wall, (size_t)rounds, sizeof(double), compare);
		qsort(commands[i].cpu, (size_t)rounds, sizeof(double), compare);
		printf("%s\t%.3f\t%.3f\t%.3f\t%ld\t%d\n", commands[i].name, commands[i].wall[rounds / 2],
		       commands[i].wall[0], commands[i].cpu[rounds / 2], commands[i].max_rss, commands[i].failed);
	}
	return 0;
}
