/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/clock.h"

#include <errno.h>

/* Writes count decimal digits, zeros in front. */
static char *put_digits(char *at, unsigned long value, int count)
{
	for (int i = count - 1; i >= 0; i--) {
		at[i] = (char)('0' + value % 10);
		value /= 10;
	}
	return at + count;
}

/* Civil date of a day since the epoch; the year begins in March so that the leap day is its last. */
static void civil_date(long days, unsigned long *year, unsigned long *month, unsigned long *day)
{
	unsigned long since = (unsigned long)days + 719468, era = since / 146097, of_era = since % 146097;
	unsigned long year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned long day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned long from_march = (5 * day_of_year + 2) / 153;

	*day = day_of_year - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = year_of_era + era * 400 + (*month <= 2);
}

void clock_format(const struct timespec *when, char text[static CLOCK_TEXT_MAX])
{
	unsigned long seconds = when->tv_sec < 0 ? 0 : (unsigned long)when->tv_sec, year, month, day;
	char *at = text;

	civil_date((long)(seconds / 86400), &year, &month, &day);
	at = put_digits(at, year, 4);
	*at++ = '-';
	at = put_digits(at, month, 2);
	*at++ = '-';
	at = put_digits(at, day, 2);
	*at++ = 'T';
	at = put_digits(at, seconds % 86400 / 3600, 2);
	*at++ = ':';
	at = put_digits(at, seconds % 3600 / 60, 2);
	*at++ = ':';
	at = put_digits(at, seconds % 60, 2);
	*at++ = '.';
	at = put_digits(at, (unsigned long)when->tv_nsec, 9);
	*at++ = 'Z';
	*at = '\0';
}

void clock_now(char text[static CLOCK_TEXT_MAX])
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	clock_format(&now, text);
}

/* Reads count digits; -1 if they are not there. */
static long take_digits(const char **at, int count)
{
	long value = 0;

	for (int i = 0; i < count; i++) {
		if (**at < '0' || **at > '9')
			return -1;
		value = value * 10 + (*(*at)++ - '0');
	}
	return value;
}

static int take_char(const char **at, char c)
{
	if (**at != c)
		return -1;
	(*at)++;
	return 0;
}

static long days_from_civil(long year, long month, long day)
{
	long shifted = month <= 2 ? year - 1 : year, era = shifted / 400, of_era = shifted % 400;
	long day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719468;
}

static int take_offset(const char **at, long *offset)
{
	long hours, minutes, sign = **at == '-' ? -1 : 1;

	*offset = 0;
	if (**at == 'Z' || **at == 'z') {
		(*at)++;
		return 0;
	}
	if (**at != '+' && **at != '-')
		return -1;
	(*at)++;
	hours = take_digits(at, 2);
	if (take_char(at, ':') < 0)
		return -1;
	minutes = take_digits(at, 2);
	*offset = sign * (hours * 3600 + minutes * 60);
	return hours < 0 || minutes < 0 ? -1 : 0;
}

int clock_parse(const char *text, struct timespec *when)
{
	static const char separators[] = "--T::";
	static const int widths[] = { 4, 2, 2, 2, 2, 2 };
	long parts[6], offset, fraction = 0, scale = 100000000;

	for (int i = 0; i < 6; i++) {
		if (i > 0 && take_char(&text, separators[i - 1]) < 0)
			return -EINVAL;
		parts[i] = take_digits(&text, widths[i]);
		if (parts[i] < 0)
			return -EINVAL;
	}
	if (*text == '.') {
		for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
			fraction += scale * (*text - '0');
	}
	if (take_offset(&text, &offset) < 0 || *text || parts[1] < 1 || parts[1] > 12 || parts[2] < 1 ||
	    parts[2] > 31 || parts[3] > 24 || parts[4] > 59 || parts[5] > 60)
		return -EINVAL;
	when->tv_sec = days_from_civil(parts[0], parts[1], parts[2]) * 86400 + parts[3] * 3600 + parts[4] * 60 +
		       parts[5] - offset;
	when->tv_nsec = fraction;
	return 0;
}
