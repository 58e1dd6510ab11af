/* SPDX-License-Identifier: Apache-2.0 */
/* linux/capability, against what the kernel itself shows in /proc/self/status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/capability.h"

enum { CHOWN = 0, KILL = 5, SETPCAP = 8, NET_ADMIN = 12, CHECKPOINT_RESTORE = 40 };
#define BIT(capability) (UINT64_C(1) << (capability))

/* One set out of /proc/self/status ("CapBnd"); exits in a child, so it must not assert. */
static uint64_t status_set(const char *name)
{
	cleanup_free char *status = NULL;
	const char *line;

	if (file_read(AT_FDCWD, "/proc/self/status", 1 << 16, &status, NULL, NULL) < 0)
		return UINT64_MAX;
	line = strstr(status, name);
	return line ? strtoull(line + strlen(name) + 1, NULL, 16) : UINT64_MAX;
}

static void test_names(void **state)
{
	static const char *const wrong[] = {
		"", "CAP_", "CAP", "CAP_CHOW", "CAP_CHOWNX", "12", "CAP_CAP_KILL", " KILL"
	};

	(void)state;
	assert_int_equal(capability_count(), CHECKPOINT_RESTORE + 1);
	for (int i = 0; i < capability_count(); i++) {
		assert_non_null(capability_name(i));
		assert_true(str_starts(capability_name(i), "CAP_"));
		assert_int_equal(capability_from_name(capability_name(i)), i);
		assert_int_equal(capability_from_name(capability_name(i) + 4), i);
	}
	assert_int_equal(capability_from_name("cap_net_admin"), NET_ADMIN);
	assert_int_equal(capability_from_name("Net_Admin"), NET_ADMIN);
	assert_string_equal(capability_name(CHECKPOINT_RESTORE), "CAP_CHECKPOINT_RESTORE");
	assert_null(capability_name(-1));
	assert_null(capability_name(capability_count()));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(capability_from_name(wrong[i]), -EINVAL);
}

static void test_known(void **state)
{
	cleanup_free char *last = NULL;

	(void)state;
	assert_int_equal(file_read(AT_FDCWD, "/proc/sys/kernel/cap_last_cap", 16, &last, NULL, NULL), 0);
	assert_true(capability_known_mask() == BIT(atoi(last) + 1) - 1);
}

/* Runs in a child, which gives up what it has: returns the number of the check that failed, 0 for none. */
static int change_all(void)
{
	const struct capability_sets sets = {
		.effective = BIT(CHOWN) | BIT(62), /* nobody knows 62: left out */
		.permitted = BIT(CHOWN) | BIT(KILL) | BIT(CHECKPOINT_RESTORE) | BIT(62),
		.inheritable = BIT(KILL) | BIT(62),
		.ambient = BIT(KILL) | BIT(62),
	};
	const struct capability_sets more = { .permitted = BIT(CHOWN) | BIT(NET_ADMIN) };
	uint64_t bounding = BIT(CHOWN) | BIT(KILL) | BIT(CHECKPOINT_RESTORE);
	struct error err = ERROR_INIT;

	bounding &= status_set("CapBnd:");
	if (capability_drop_bounding(bounding | BIT(62), &err) < 0 || status_set("CapBnd:") != bounding)
		return 1;
	if (capability_apply(&sets, &err) < 0)
		return 2;
	if (status_set("CapEff:") != BIT(CHOWN) ||
	    status_set("CapPrm:") != (BIT(CHOWN) | BIT(KILL) | BIT(CHECKPOINT_RESTORE)))
		return 3;
	if (status_set("CapInh:") != BIT(KILL) || status_set("CapAmb:") != BIT(KILL))
		return 4;
	if (capability_apply(&more, &err) != -EPERM || !strstr(err.text, "permitted 0x1001"))
		return 5;
	if (capability_drop_bounding(0, &err) != -EPERM || !strstr(err.text, "CAP_CHOWN"))
		return 6;
	if (capability_apply(&(struct capability_sets){ .effective = 0 }, &err) < 0 || status_set("CapPrm:") ||
	    status_set("CapAmb:"))
		return 7;
	return 0;
}

static int in_child(int (*run)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_change(void **state)
{
	uint64_t need = BIT(CHOWN) | BIT(KILL) | BIT(SETPCAP) | BIT(CHECKPOINT_RESTORE);

	(void)state;
	if ((status_set("CapEff:") & need) != need) {
		print_message("needs CAP_SETPCAP and the capabilities that it hands out\n");
		skip();
	}
	assert_int_equal(in_child(change_all), 0);
}

static int drop_everything(void)
{
	struct error err;

	return capability_apply(&(struct capability_sets){ .effective = 0 }, &err) < 0 || status_set("CapPrm:");
}

/* Giving up needs no privilege. */
static void test_drop(void **state)
{
	(void)state;
	assert_int_equal(in_child(drop_everything), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
