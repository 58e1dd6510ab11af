/* SPDX-License-Identifier: Apache-2.0 */
#include "image/reference.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define DEFAULT_DOMAIN "docker.io"
#define DEFAULT_PREFIX "docker.io/library/"

enum { TAIL_MAX = 256 }; /* a tag and a digest, which do not count against the name */

static const char alphanumeric[] = "abcdefghijklmnopqrstuvwxyz0123456789";

/* "[a-z0-9]+", joined by one of ".", "_", "__", "-"... */
static bool component_valid(const char *text, size_t length)
{
	size_t at = 0;

	for (;;) {
		size_t run = strspn(text + at, alphanumeric);

		if (run == 0 || at + run > length)
			return false;
		at += run;
		if (at == length)
			return true;
		if (text[at] == '.')
			at++;
		else if (text[at] == '_')
			at += text[at + 1] == '_' ? 2 : 1;
		else if (text[at] == '-')
			at += strspn(text + at, "-");
		else
			return false;
		if (at >= length)
			return false;
	}
}

static bool path_valid(const char *path)
{
	for (;;) {
		size_t length = strcspn(path, "/");

		if (!component_valid(path, length))
			return false;
		if (!path[length])
			return true;
		path += length + 1;
	}
}

/* A host name or address, and a port perhaps. */
static bool domain_valid(const char *domain)
{
	static const char host[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	size_t length = *domain == '[' ? strcspn(domain, "]") + 1 : strspn(domain, host);
	const char *port = domain + length;

	if (length == 0 || domain[0] == '.' || domain[0] == '-')
		return false;
	if (*domain == '[' && strspn(domain + 1, "0123456789abcdefABCDEF:") != length - 2)
		return false;
	return !*port || (*port == ':' && port[1] && strspn(port + 1, "0123456789") == strlen(port + 1));
}

static bool tag_valid(const char *tag)
{
	static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t length = strlen(tag);

	return length > 0 && length <= 128 && strspn(tag, word) == length && *tag != '.' && *tag != '-';
}

/* The part before the first '/' is a registry if it looks like one. */
static bool looks_like_domain(const char *first)
{
	return strpbrk(first, ".:") || strcmp(first, "localhost") == 0 || strpbrk(first, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

static int invalid(struct error *err, const char *text, const char *why)
{
	return error_set(err, EINVAL, "invalid reference format: \"%.128s\": %s", text, why);
}

/* name is "[domain/]path" without tag and digest; it is changed. */
static int set_name(struct image_reference *reference, char *name, const char *text, struct error *err)
{
	char *slash = strchr(name, '/');
	const char *domain = DEFAULT_DOMAIN, *path = name, *library;

	if (slash) {
		*slash = '\0';
		if (looks_like_domain(name)) {
			domain = strcmp(name, "index.docker.io") == 0 ? DEFAULT_DOMAIN : name;
			path = slash + 1;
		} else {
			*slash = '/';
		}
	}
	if (!domain_valid(domain))
		return invalid(err, text, "the registry is not a host name");
	if (!path_valid(path))
		return invalid(err, text,
			       strpbrk(path, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") ? "repository name must be lowercase"
									   : "not a repository name");
	library = strcmp(domain, DEFAULT_DOMAIN) == 0 && !strchr(path, '/') ? "library/" : "";
	if (snprintf(reference->name, sizeof(reference->name), "%s/%s%s", domain, library, path) >=
	    (int)sizeof(reference->name))
		return invalid(err, text, "repository name is too long");
	return 0;
}

int image_reference_parse(const char *text, struct image_reference *reference, struct error *err)
{
	char name[REFERENCE_MAX + TAIL_MAX], *at, *slash, *colon;

	memset(reference, 0, sizeof(*reference));
	if (!*text || strlen(text) >= sizeof(name) || strspn(text, "0123456789abcdef") == 64)
		return invalid(err, text, *text ? "too long, or an image id" : "empty");
	memcpy(name, text, strlen(text) + 1);
	at = strchr(name, '@');
	if (at) {
		*at++ = '\0';
		if (!oci_digest_valid(at))
			return invalid(err, text, "not a digest after the @");
		memcpy(reference->digest, at, strlen(at) + 1);
	}
	slash = strrchr(name, '/');
	colon = strrchr(slash ? slash : name, ':');
	if (colon) {
		*colon++ = '\0';
		if (!tag_valid(colon))
			return invalid(err, text, "not a tag after the colon");
		memcpy(reference->tag, colon, strlen(colon) + 1);
	} else if (!at) {
		memcpy(reference->tag, "latest", sizeof("latest"));
	}
	return set_name(reference, name, text, err);
}

void image_reference_full(const struct image_reference *reference, char text[static REFERENCE_MAX + 130])
{
	(void)snprintf(text, REFERENCE_MAX + 130, "%s%s%s", reference->name, *reference->tag ? ":" : "",
		       reference->tag);
}

/* Shortened only as far as it still means the same: what would then begin like a registry keeps its own. */
const char *image_reference_familiar(const char *full)
{
	const char *rest = full + strlen(DEFAULT_DOMAIN "/");
	char first[REFERENCE_MAX];

	if (!str_starts(full, DEFAULT_DOMAIN "/"))
		return full;
	if (str_starts(full, DEFAULT_PREFIX) && !strchr(full + strlen(DEFAULT_PREFIX), '/'))
		return full + strlen(DEFAULT_PREFIX);
	(void)snprintf(first, sizeof(first), "%.*s", (int)strcspn(rest, "/"), rest);
	return strchr(rest, '/') && looks_like_domain(first) ? full : rest;
}
