/* SPDX-License-Identifier: Apache-2.0 */
/* The image documents, names of images, changes to a config, and users of an image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/change.h"
#include "image/digest.h"
#include "image/reference.h"
#include "image/user.h"
#include "spec/image.h"
#include "tarball.h"

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SHA    "sha256:" HEX
#define LAYER  "{\"mediaType\":\"" OCI_MEDIA_LAYER "\",\"digest\":\"" SHA "\",\"size\":5}"
#define CONFIG "{\"mediaType\":\"" OCI_MEDIA_CONFIG "\",\"digest\":\"" SHA "\",\"size\":7}"

static int parse_manifest(const char *json, struct error *err)
{
	struct oci_manifest manifest;
	int ret;

	*err = ERROR_INIT;
	ret = oci_manifest_parse(json, strlen(json), &manifest, err);
	if (ret == 0)
		oci_manifest_free(&manifest);
	else
		assert_true(err->code && *err->text);
	return ret;
}

static void test_manifest(void **state)
{
	static const char good[] = "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MEDIA_MANIFEST "\",\"config\":" CONFIG
				   ",\"layers\":[" LAYER "],\"annotations\":{\"a\":\"b\"}}";
	struct oci_manifest manifest;
	struct error err = ERROR_INIT;
	cleanup_free char *again = NULL;

	(void)state;
	assert_int_equal(oci_manifest_parse(good, strlen(good), &manifest, &err), 0);
	assert_int_equal(manifest.layers_count, 1);
	assert_string_equal(manifest.layers[0].digest, SHA);
	assert_int_equal(manifest.layers[0].size, 5);
	assert_string_equal(oci_pairs_get(&manifest.annotations, "a"), "b");
	again = oci_manifest_json(&manifest);
	assert_string_equal(again, good);
	oci_manifest_free(&manifest);
}

static void test_manifest_refused(void **state)
{
	static const struct {
		const char *json, *words;
	} bad[] = {
		{ "", "not valid JSON" },
		{ "[]", "expected an object" },
		{ "{\"schemaVersion\":1,\"config\":" CONFIG ",\"layers\":[]}", "schemaVersion" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG "}", "layers" },
		{ "{\"schemaVersion\":2,\"layers\":[]}", "config." },
		/* CVE-2021-41190 */
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[],\"manifests\":[]}", "ambiguous" },
		{ "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MEDIA_INDEX "\",\"config\":" CONFIG ",\"layers\":[]}",
		  "mediaType" },
		{ "{\"schemaVersion\":2,\"fsLayers\":[],\"config\":" CONFIG ",\"layers\":[]}", "ambiguous" },
		{ "{\"schemaVersion\":2,\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[]}", "not valid JSON" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" SHA
		  "\",\"size\":-1}]}",
		  "layers[0].size" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" SHA
		  "\",\"size\":1e3}]}",
		  "layers[0].size: expected an integer" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" SHA
		  "\",\"size\":99999999999999999999}]}",
		  "not valid JSON" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"x\",\"size\":1}]}",
		  "layers[0].digest: missing" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG
		  ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"sha256:../../../etc\",\"size\":1}]}",
		  "layers[0].digest" },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[7]}", "layers[0]." },
		{ "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}", "layers: expected an array" },
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(parse_manifest(bad[i].json, &err), -EINVAL);
		if (!strstr(err.text, bad[i].words))
			fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].words);
	}
}

static void test_index(void **state)
{
	static const char good[] = "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" OCI_MEDIA_MANIFEST
				   "\",\"digest\":\"" SHA "\",\"size\":1,\"platform\":{\"os\":\"linux\","
				   "\"architecture\":\"arm64\",\"variant\":\"v8\"}}]}";
	static const char both[] = "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}";
	static const char config[] = "{\"schemaVersion\":2,\"manifests\":[],\"config\":{}}";
	struct oci_index index;
	struct error err = ERROR_INIT;
	enum oci_document kind;

	(void)state;
	assert_int_equal(oci_index_parse(good, strlen(good), &index, &err), 0);
	assert_string_equal(index.manifests[0].platform.variant, "v8");
	oci_index_free(&index);
	assert_int_equal(oci_index_parse(both, strlen(both), &index, &err), -EINVAL);
	assert_int_equal(oci_index_parse(config, strlen(config), &index, &err), -EINVAL);
	assert_int_equal(oci_document_kind(good, strlen(good), &kind, &err), 0);
	assert_int_equal(kind, OCI_DOCUMENT_INDEX);
	assert_int_equal(oci_document_kind(both, strlen(both), &kind, &err), -EINVAL);
}

static void test_config(void **state)
{
	static const char good[] =
		"{\"created\":\"2026-01-02T03:04:05Z\",\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{"
		"\"User\":\"\",\"Env\":[\"A=b\"],\"Cmd\":\"sh\",\"Entrypoint\":null,\"ExposedPorts\":{\"80/tcp\":{}},"
		"\"Labels\":{\"k\":\"v\"},\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],\"Interval\":5}},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" SHA "\"]},"
		"\"history\":[{\"created_by\":\"x\",\"empty_layer\":true},{}],\"unknown\":7}";
	static const char no_rootfs[] = "{\"architecture\":\"amd64\",\"os\":\"linux\"}";
	static const char bad_id[] = "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:xyz\"]}}";
	static const char manifest[] = "{\"layers\":[],\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
	struct oci_image_config config;
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(oci_image_config_parse(good, strlen(good), &config, &err), 0);
	assert_null(config.config.user);
	assert_string_equal(config.config.env.items[0], "A=b");
	assert_null(config.config.env.items[1]);
	assert_string_equal(config.config.cmd.items[0], "sh");
	assert_true(config.config.cmd_set);
	assert_false(config.config.entrypoint_set);
	assert_string_equal(config.config.exposed_ports.items[0], "80/tcp");
	assert_int_equal(config.config.healthcheck.interval, 5);
	assert_true(config.history[0].empty_layer);
	assert_int_equal(config.history_count, 2);
	oci_image_config_free(&config);
	assert_int_equal(oci_image_config_parse(no_rootfs, strlen(no_rootfs), &config, &err), -EINVAL);
	assert_int_equal(oci_image_config_parse(bad_id, strlen(bad_id), &config, &err), -EINVAL);
	assert_int_equal(oci_image_config_parse(manifest, strlen(manifest), &config, &err), -EINVAL);
}

static void test_deep_and_large(void **state)
{
	enum { DEPTH = 100000 };
	cleanup_free char *deep = malloc(DEPTH + 1), *large = calloc(1, OCI_DOCUMENT_MAX + 2);
	struct docker_archive archive;
	struct error err = ERROR_INIT;

	(void)state;
	memset(deep, '[', DEPTH);
	assert_int_equal(docker_archive_parse(deep, DEPTH, &archive, &err), -EINVAL);
	memset(large, ' ', OCI_DOCUMENT_MAX + 1);
	assert_int_equal(docker_archive_parse(large, OCI_DOCUMENT_MAX + 1, &archive, &err), -EINVAL);
	assert_non_null(strstr(err.text, "larger than"));
}

static void test_digests(void **state)
{
	static const char *const bad[] = { "",
					   "sha256:",
					   HEX,
					   "sha256:" HEX "0",
					   "md5:" HEX,
					   "SHA256:" HEX,
					   "sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
					   "sha256:/../0123456789abcdef0123456789abcdef0123456789abcdef01234567",
					   "sha512:" HEX };
	char text[OCI_DIGEST_MAX], one[OCI_DIGEST_MAX];
	unsigned char bytes[1000];
	struct digest digest;

	(void)state;
	assert_true(oci_digest_valid(SHA));
	assert_true(oci_digest_valid("sha512:" HEX HEX));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(oci_digest_valid(bad[i]));
	digest_of("abc", 3, text);
	assert_string_equal(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_of("", 0, text);
	assert_string_equal(text, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_begin(&digest, "sha512:");
	digest_add(&digest, "abc", 3);
	digest_end(&digest, text);
	assert_memory_equal(text, "sha512:ddaf35a193617aba", 23);
	/* The processor's instructions and libmd agree at every length, whatever the pieces. */
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7 + i / 256);
	for (size_t size = 0; size < sizeof(bytes); size += 3) {
		digest_begin(&digest, NULL);
		if (digest.native) {
			digest.native = false;
			SHA256Init(&digest.libmd);
		}
		digest_add(&digest, bytes, size);
		digest_end(&digest, one);
		digest_begin(&digest, NULL);
		for (size_t at = 0, piece; at < size; at += piece) {
			piece = 1 + (at * 13 + size) % 150;
			piece = piece > size - at ? size - at : piece;
			digest_add(&digest, bytes + at, piece);
		}
		digest_end(&digest, text);
		assert_string_equal(text, one);
	}
}

static void test_references(void **state)
{
	static const struct {
		const char *text, *full, *familiar;
	} good[] = {
		{ "busybox", "docker.io/library/busybox:latest", "busybox:latest" },
		{ "me/app:1.0", "docker.io/me/app:1.0", "me/app:1.0" },
		{ "localhost/app", "localhost/app:latest", "localhost/app:latest" },
		{ "localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t" },
		{ "index.docker.io/library/x", "docker.io/library/x:latest", "x:latest" },
		{ "ghcr.io/o/r@" SHA, "ghcr.io/o/r", "ghcr.io/o/r" },
		{ "a__b/c-d--e.f:T_9", "docker.io/a__b/c-d--e.f:T_9", "a__b/c-d--e.f:T_9" },
		{ "[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest" },
	};
	static const char *const bad[] = { "",	    ":tag", "Upper", "a//b",   "a:",	   "a:b:c",   "-a",    "a-",
					   "a___b", "a..b", "../a",  "a/../b", "a@md5:x",  "a@" HEX,  HEX,     "a b",
					   "/a",    "a/",   "a:.t",  "a\n",    "http://a", "reg.io/", "a:\xff" };
	struct image_reference reference;
	char full[REFERENCE_MAX + 130];
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(image_reference_parse(good[i].text, &reference, &err), 0);
		image_reference_full(&reference, full);
		assert_string_equal(full, good[i].full);
		assert_string_equal(image_reference_familiar(full), good[i].familiar);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (image_reference_parse(bad[i], &reference, &err) != -EINVAL)
			fail_msg("\"%s\" is taken for a name", bad[i]);
}

static void test_changes(void **state)
{
	struct oci_image_config config = { .created = NULL };
	struct error err = ERROR_INIT;
	static const char *const good[] = { "CMD [\"a\", \"b c\"]",
					    "entrypoint exec me",
					    "ENV A=1 B=\"two words\" C=x\\ y",
					    "ENV OLD the old form",
					    "ENV A=2",
					    "EXPOSE 80 53/udp 80",
					    "LABEL k=v",
					    "LABEL k=w l=\"a=b\"",
					    "USER 1000:1000",
					    "VOLUME /data /more",
					    "VOLUME [\"/json\"]",
					    "WORKDIR /srv",
					    "WORKDIR www",
					    "STOPSIGNAL SIGQUIT",
					    "ONBUILD RUN x",
					    "HEALTHCHECK --interval=1m30s --retries=3 CMD curl localhost" };
	static const char *const bad[] = { "RUN x",
					   "CMD",
					   "ENV",
					   "ENV A",
					   "ENV =x",
					   "EXPOSE x",
					   "EXPOSE 80/x",
					   "LABEL =v",
					   "SHELL sh",
					   "HEALTHCHECK x",
					   "HEALTHCHECK --interval=x CMD y",
					   "",
					   "CMDx y" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (image_change(&config, good[i], &err) != 0)
			fail_msg("%s", err.text);
	assert_int_equal(config.config.cmd.count, 2);
	assert_string_equal(config.config.cmd.items[1], "b c");
	assert_int_equal(config.config.entrypoint.count, 3);
	assert_string_equal(config.config.entrypoint.items[2], "exec me");
	assert_int_equal(config.config.env.count, 4);
	assert_string_equal(config.config.env.items[0], "A=2");
	assert_string_equal(config.config.env.items[1], "B=two words");
	assert_string_equal(config.config.env.items[2], "C=x y");
	assert_string_equal(config.config.env.items[3], "OLD=the old form");
	assert_int_equal(config.config.exposed_ports.count, 2);
	assert_string_equal(config.config.exposed_ports.items[1], "53/udp");
	assert_string_equal(oci_pairs_get(&config.config.labels, "k"), "w");
	assert_string_equal(oci_pairs_get(&config.config.labels, "l"), "a=b");
	assert_string_equal(config.config.working_dir, "/srv/www");
	assert_int_equal(config.config.volumes.count, 3);
	assert_int_equal(config.config.healthcheck.interval, INT64_C(90000000000));
	assert_string_equal(config.config.healthcheck.test.items[0], "CMD-SHELL");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (image_change(&config, bad[i], &err) != -EINVAL)
			fail_msg("\"%s\" changed something", bad[i]);
	oci_image_config_free(&config);
}

/* A root file system with these two files. */
static int make_rootfs(char dir[static 64], const char *passwd, const char *group)
{
	int fd, etc;

	strcpy(dir, "/tmp/caisson-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(fd, "etc", 0755), 0);
	etc = openat(fd, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (passwd)
		assert_int_equal(file_replace(etc, "passwd", passwd, strlen(passwd), 0644, NULL), 0);
	if (group)
		assert_int_equal(file_replace(etc, "group", group, strlen(group), 0644, NULL), 0);
	close(etc);
	return fd;
}

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n#c\n\nshort:x\n"
			     "+::::::\nneg:x:-1:0::/:\nbig:x:4294967296:0::/:\nempty:x::0::/:\nnogid:x:5::x:/:\n"
			     "bin:x:2:2:::\n";
static const char group[] = "root:x:0:app\nwheel:x:10:root,app\nvideo:x:44:other,app,app\nvideo2:x:44:app\n"
			    "app:x:1001:app\nbroken:x:-5:\n";

static void test_users(void **state)
{
	char dir[64];
	cleanup_close int fd = -1;
	struct image_user user;
	struct error err = ERROR_INIT;
	gid_t gid;

	(void)state;
	if (no_openat2())
		skip();
	fd = make_rootfs(dir, passwd, group);
	assert_int_equal(image_resolve_user("app", fd, &user, &err), 0);
	assert_int_equal(user.uid, 1000);
	assert_int_equal(user.gid, 1001);
	assert_int_equal(user.groups_count, 3);
	assert_int_equal(user.groups[0], 0);
	assert_int_equal(user.groups[1], 10);
	assert_int_equal(user.groups[2], 44);
	assert_string_equal(user.home, "/home/app");
	image_user_free(&user);
	assert_int_equal(image_resolve_user("1000:video", fd, &user, &err), 0);
	assert_int_equal(user.gid, 44);
	assert_int_equal(user.groups_count, 0);
	image_user_free(&user);
	assert_int_equal(image_resolve_user("77:88", fd, &user, &err), 0);
	assert_int_equal(user.uid, 77);
	assert_int_equal(user.gid, 88);
	assert_null(user.name);
	assert_string_equal(user.home, "/");
	image_user_free(&user);
	assert_int_equal(image_resolve_user(NULL, fd, &user, &err), 0);
	assert_int_equal(user.uid, 0);
	assert_string_equal(user.home, "/root");
	assert_int_equal(user.groups_count, 1);
	image_user_free(&user);
	assert_int_equal(image_resolve_user("bin", fd, &user, &err), 0);
	assert_string_equal(user.home, "/");
	image_user_free(&user);
	assert_int_equal(image_resolve_group("wheel", fd, &gid, &err), 0);
	assert_int_equal(gid, 10);
	assert_int_equal(file_remove_all(AT_FDCWD, dir, NULL), 0);
}

static void test_malformed_users(void **state)
{
	static const char *const bad[] = { "",
					   "-1",
					   ":",
					   "1000:",
					   ":1000",
					   "app:",
					   "+1",
					   "4294967296",
					   "4294967295",
					   "2147483648",
					   "neg",
					   "big",
					   "empty",
					   "nogid",
					   "1:-1",
					   "1:4294967296",
					   "a:b:c",
					   "1000:1001:0",
					   "99999999999999999999999" };
	static const char *const unknown[] = { "nobody", "short", "0x0", " 0", "0 ", "app:nogroup", "app\n" };
	char dir[64];
	cleanup_close int fd = -1;
	struct image_user user;
	struct error err = ERROR_INIT;

	(void)state;
	if (no_openat2())
		skip();
	fd = make_rootfs(dir, passwd, group);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (image_resolve_user(bad[i], fd, &user, &err) != -EINVAL)
			fail_msg("\"%s\" is taken for a user", bad[i]);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		if (image_resolve_user(unknown[i], fd, &user, &err) != -ENOENT)
			fail_msg("\"%s\" is taken for a user", unknown[i]);
	assert_int_equal(image_resolve_user("nobody", fd, &user, &err), -ENOENT);
	assert_non_null(strstr(err.text, "unable to find user nobody: no matching entries in passwd file"));
	assert_int_equal(file_remove_all(AT_FDCWD, dir, NULL), 0);
}

/* CVE-2024-9676: /etc/passwd of the image as a link to the host's, or as something that never ends. */
static void test_user_files_that_mislead(void **state)
{
	char dir[64];
	cleanup_close int fd = -1;
	struct image_user user;
	struct error err = ERROR_INIT;

	(void)state;
	if (no_openat2())
		skip();
	fd = make_rootfs(dir, NULL, NULL);
	assert_int_equal(image_resolve_user("root", fd, &user, &err), -ENOENT);
	assert_int_equal(image_resolve_user("5", fd, &user, &err), 0);
	image_user_free(&user);
	assert_int_equal(symlinkat("../../../../../../etc/passwd", fd, "etc/passwd"), 0);
	assert_int_equal(image_resolve_user("root", fd, &user, &err), -ELOOP);
	assert_int_equal(unlinkat(fd, "etc/passwd", 0), 0);
	assert_int_equal(symlinkat("/etc/../../etc/hosts", fd, "etc/passwd"), 0);
	assert_int_equal(image_resolve_user("root", fd, &user, &err), -ENOENT);
	assert_int_equal(unlinkat(fd, "etc/passwd", 0), 0);
	assert_int_equal(symlinkat("/proc/self/root/etc/passwd", fd, "etc/passwd"), 0);
	assert_int_equal(image_resolve_user("root", fd, &user, &err), -ENOENT);
	assert_int_equal(unlinkat(fd, "etc/passwd", 0), 0);
	assert_int_equal(mkfifoat(fd, "etc/passwd", 0600), 0);
	assert_int_equal(image_resolve_user("root", fd, &user, &err), -EINVAL);
	assert_int_equal(unlinkat(fd, "etc/passwd", 0), 0);
	/* A device that nothing drives: opening it, which for another one would be an act, says ENXIO. */
	if (mknodat(fd, "etc/passwd", S_IFCHR | 0600, makedev(60, 0)) == 0)
		assert_int_equal(image_resolve_user("root", fd, &user, &err), -EINVAL);
	assert_int_equal(file_remove_all(AT_FDCWD, dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_manifest_refused),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_deep_and_large),
		cmocka_unit_test(test_digests),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_malformed_users),
		cmocka_unit_test(test_user_files_that_mislead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
