/* SPDX-License-Identifier: Apache-2.0 */
#include "spec/writer.h"

#include "base/json.h"

static void new_line(struct writer *writer)
{
	str_append_bytes(&writer->out, "\n", 1);
	for (int i = 0; i < writer->depth; i++)
		str_append(&writer->out, writer->indent);
}

static void begin(struct writer *writer, const char *name)
{
	if (writer->filled)
		str_append_bytes(&writer->out, ",", 1);
	if (writer->depth > 0)
		new_line(writer);
	if (name) {
		json_append_string(&writer->out, name);
		str_append(&writer->out, ": ");
	}
	writer->filled = true;
}

void writer_open(struct writer *writer, const char *name, char bracket)
{
	begin(writer, name);
	str_append_bytes(&writer->out, &bracket, 1);
	writer->depth++;
	writer->filled = false;
}

void writer_close(struct writer *writer, char bracket)
{
	writer->depth--;
	if (writer->filled)
		new_line(writer);
	str_append_bytes(&writer->out, &bracket, 1);
	writer->filled = true;
}

void writer_text(struct writer *writer, const char *name, const char *text)
{
	begin(writer, name);
	json_append_string(&writer->out, text);
}

void writer_number(struct writer *writer, const char *name, int64_t number)
{
	begin(writer, name);
	str_printf(&writer->out, "%jd", (intmax_t)number);
}

void writer_unsigned(struct writer *writer, const char *name, uint64_t number)
{
	begin(writer, name);
	str_printf(&writer->out, "%ju", (uintmax_t)number);
}

void writer_bool(struct writer *writer, const char *name, bool truth)
{
	begin(writer, name);
	str_append(&writer->out, truth ? "true" : "false");
}

void writer_words(struct writer *writer, const char *name, const char *const *words)
{
	writer_open(writer, name, '[');
	for (; words && *words; words++)
		writer_text(writer, NULL, *words);
	writer_close(writer, ']');
}
