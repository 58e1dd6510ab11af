/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/caisson/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/format.h"

enum { BAR = 30, EVERY = 100 /* milliseconds */, WHAT_MAX = 20 };

static long long now_in_milliseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* "Extracting d811a3f62fdd [=======>      ] 12.3MB/45.6MB"; shorter than any terminal is wide. */
static void draw(const char *title, uint64_t done, uint64_t total)
{
	char sizes[2][16], bar[BAR + 1] = "";
	int filled;

	/* What is counted may be a little more than what was told: headers of an archive. */
	done = total > 0 && done > total ? total : done;
	filled = total > 0 ? (int)((double)BAR * (double)done / (double)total) : 0;
	memset(bar, '=', (size_t)filled);
	if (filled < BAR)
		bar[filled] = '>';
	format_size(done, sizes[0]);
	format_size(total, sizes[1]);
	if (total > 0)
		(void)fprintf(stderr, "\r%s [%-*s] %s/%s  ", title, BAR, bar, sizes[0], sizes[1]);
	else
		(void)fprintf(stderr, "\r%s %s  ", title, sizes[0]);
}

static int report(void *context, const char *action, const char *what, uint64_t done, uint64_t total)
{
	struct progress *progress = context;
	long long now = now_in_milliseconds();
	char title[sizeof(progress->title)];

	(void)snprintf(title, sizeof(title), "%s%s%.*s", action, *what ? " " : "", WHAT_MAX, what);
	progress->done = done;
	progress->total = total;
	if (strcmp(title, progress->title) == 0 && done != total && now - progress->drawn < EVERY)
		return 0;
	if (*progress->title && strcmp(title, progress->title) != 0)
		(void)fputc('\n', stderr);
	memcpy(progress->title, title, sizeof(title));
	progress->drawn = now;
	draw(title, done, total);
	return 0;
}

void progress_watch(struct progress *progress, struct image_store *store, bool quiet)
{
	const char *terminal = getenv("TERM");

	if (!quiet && isatty(STDERR_FILENO) && !(terminal && strcmp(terminal, "dumb") == 0))
		store->progress = (struct image_progress){ .report = report, .context = progress };
}

void progress_end(struct progress *progress, struct image_store *store)
{
	if (*progress->title) {
		draw(progress->title, progress->done, progress->total);
		(void)fputc('\n', stderr);
	}
	*progress = PROGRESS_INIT;
	store->progress = (struct image_progress){ .report = NULL };
}
