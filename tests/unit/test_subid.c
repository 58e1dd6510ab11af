/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include "linux/subid.h"

static void ranges_of_name_and_number_follow_each_other(void **state)
{
	static const char text[] = "other:200000:10\n"
				   "lab:100000:65536\n"
				   "1000:300000:5\n";
	struct idmap_range ranges[4];

	(void)state;
	assert_int_equal(subid_parse(text, "lab", 1000, 1, ranges, 4), 2);
	assert_int_equal(ranges[0].inside, 1);
	assert_int_equal(ranges[0].outside, 100000);
	assert_int_equal(ranges[0].size, 65536);
	assert_int_equal(ranges[1].inside, 65537);
	assert_int_equal(ranges[1].outside, 300000);
	assert_int_equal(ranges[1].size, 5);
	/* A user without a name has what its number was given. */
	assert_int_equal(subid_parse(text, NULL, 1000, 1, ranges, 4), 1);
	assert_int_equal(ranges[0].outside, 300000);
}

static void lines_that_make_no_sense_are_passed_over(void **state)
{
	static const char *const texts[] = { "",
					     "\n\n",
					     "lab\n",
					     "lab:\n",
					     "lab:100000\n",
					     "lab:100000:\n",
					     "lab:100000:0\n",
					     "lab:100000:-1\n",
					     "lab:-1:10\n",
					     "lab:0x10:10\n",
					     "lab:100000:10:x\n",
					     "lab:4294967296:1\n",
					     "lab:4294967290:10\n",
					     "lab:0:4294967296\n",
					     "lab:1:18446744073709551615\n",
					     "labour:100000:10\n",
					     "la:100000:10\n",
					     "01x:100000:10\n" };
	struct idmap_range ranges[2];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_int_equal(subid_parse(texts[i], "lab", 1000, 1, ranges, 2), 0);
}

static void what_does_not_fit_is_left_out(void **state)
{
	static const char text[] = "lab:100000:10\nlab:200000:10\nlab:300000:10";
	struct idmap_range ranges[2];

	(void)state;
	assert_int_equal(subid_parse(text, "lab", 1000, 1, ranges, 2), 2);
	assert_int_equal(subid_parse(text, "lab", 1000, 1, ranges, 0), 0);
	/* Ids inside end before 2^32 - 1, which is nobody's. */
	assert_int_equal(subid_parse("lab:0:10\nlab:50:2\n", "lab", 1000, UINT32_MAX - 5, ranges, 2), 1);
	assert_int_equal(ranges[0].outside, 50);
}

static void a_file_that_is_not_there_gives_nothing(void **state)
{
	struct idmap_range ranges[2];

	(void)state;
	assert_int_equal(subid_read("/nowhere/subuid", "lab", 1000, 1, ranges, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_of_name_and_number_follow_each_other),
		cmocka_unit_test(lines_that_make_no_sense_are_passed_over),
		cmocka_unit_test(what_does_not_fit_is_left_out),
		cmocka_unit_test(a_file_that_is_not_there_gives_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
