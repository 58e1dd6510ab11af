/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What skopeo and umoci make of our archives, and we of theirs.  A layered
 * image with deletions is built by umoci, unpacked by it and by us, and the two
 * trees are compared file by file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/image.h"
#include "image/snapshot.h"
#include "store.h"
#include "tarball.h"

/* Runs a shell command in the fixture's directory; its words go to a file that a failure shows. */
static int sh(const struct fixture *f, const char *command)
{
	cleanup_str struct str whole = STR_INIT;

	str_printf(&whole, "cd %s && { %s; } >out 2>&1 </dev/null", f->dir, command);
	return system(str_text(&whole));
}

static void show_output(const struct fixture *f)
{
	char path[128];
	cleanup_free char *text = NULL;

	(void)snprintf(path, sizeof(path), "%s/out", f->dir);
	if (file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) == 0)
		print_message("%s\n", text);
}

static void must(const struct fixture *f, const char *command)
{
	if (sh(f, command) == 0)
		return;
	show_output(f);
	fail_msg("failed: %s", command);
}

static bool have(const char *program)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
	return system(command) == 0;
}

static int open_file(const struct fixture *f, const char *name, int flags)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	fd = open(path, flags | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	return fd;
}

static void save(struct fixture *f, const char *name, enum image_format format, const char *file)
{
	cleanup_close int fd = open_file(f, file, O_WRONLY | O_CREAT | O_TRUNC);

	if (image_save(&f->store, &name, 1, format, fd, &f->err) < 0)
		fail_msg("%s", f->err.text);
}

static void load(struct fixture *f, const char *file, const char *expected)
{
	cleanup_close int fd = open_file(f, file, O_RDONLY);

	str_free(&f->report.lines);
	if (image_load(&f->store, fd, NULL, &f->report, &f->err) < 0)
		fail_msg("%s: %s", file, f->err.text);
	if (!strstr(str_text(&f->report.lines), expected))
		fail_msg("%s: \"%s\" instead of \"%s\"", file, str_text(&f->report.lines), expected);
}

static void assert_same_id(struct fixture *f, const char *name, const char *id)
{
	struct image image;

	assert_int_equal(image_open(&f->store, name, &image, &f->err), 0);
	assert_string_equal(image.id, id);
	image_close(&image);
}

static void import_small(struct fixture *f, char id[OCI_DIGEST_MAX])
{
	static const char *const changes[] = { "ENV A=b", "CMD [\"/x\"]", NULL };
	struct image_import_options options = { .name = "small:1", .changes = changes, .created = 1 };
	cleanup_str struct str tar = STR_INIT;
	cleanup_close int fd = -1;

	tar_add(&tar, (struct tar_entry){ .name = "etc", .type = '5' });
	tar_add(&tar, (struct tar_entry){ .name = "etc/passwd", .data = "root:x:0:0::/:/bin/sh\n" });
	tar_end(&tar);
	fd = tar_fd(&tar);
	assert_int_equal(image_import(&f->store, fd, &options, id, &f->err), 0);
}

static void test_skopeo(void **state)
{
	struct fixture *f = *state;
	char id[OCI_DIGEST_MAX];

	if (!have("skopeo")) {
		print_message("no skopeo\n");
		skip();
	}
	import_small(f, id);
	save(f, "small:1", IMAGE_FORMAT_OCI_ARCHIVE, "oci.tar");
	save(f, "small:1", IMAGE_FORMAT_DOCKER_ARCHIVE, "docker.tar");
	must(f, "skopeo copy --insecure-policy oci-archive:oci.tar docker-archive:from-oci.tar:a/a:1");
	must(f, "skopeo copy --insecure-policy docker-archive:docker.tar docker-archive:from-docker.tar:b/b:1");
	must(f, "skopeo copy --insecure-policy docker-archive:docker.tar oci-archive:oci-gzip.tar:c/c:1");
	must(f, "skopeo copy --insecure-policy --dest-compress-format zstd docker-archive:docker.tar oci:zstd:d/d:1");
	/* our store is a layout itself */
	must(f, "skopeo copy --insecure-policy oci:store:docker.io/library/small:1 oci-archive:from-store.tar:e/e:1");
	must(f, "gzip -k from-oci.tar");
	load(f, "from-oci.tar.gz", "Loaded image: a/a:1\n");
	load(f, "from-docker.tar", "Loaded image: b/b:1\n");
	load(f, "oci-gzip.tar", "Loaded image: c/c:1\n");
	load(f, "zstd", "Loaded image: d/d:1\n");
	load(f, "from-store.tar", "Loaded image: e/e:1\n");
	assert_same_id(f, "a/a:1", id);
	assert_same_id(f, "b/b:1", id);
	assert_same_id(f, "e/e:1", id);
}

/* The image's root file system as it would be for an instance, at merged/, in a mount namespace of this child. */
static int mount_image(struct fixture *f, const char *name)
{
	struct image_layers layers;
	struct image image;
	char target[128];
	int mount_fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	(void)snprintf(target, sizeof(target), "%s/merged", f->dir);
	image_store_close(&f->store);
	if (image_store_open(&f->store, f->root, &f->err) < 0)
		return 5;
	if (mkdir(target, 0755) < 0 || image_open(&f->store, name, &image, &f->err) < 0 ||
	    image_layers_open(&f->store, &image, &layers, &f->err) < 0)
		return 1;
	if (image.manifest.layers_count < 4)
		return 2;
	mount_fd = image_snapshot_mount(&f->store, &layers, -1, -1, IMAGE_SNAPSHOT_READ_ONLY, 0, &f->err);
	if (mount_fd < 0 || image_snapshot_attach(mount_fd, target, &f->err) < 0) {
		(void)fprintf(stderr, "%s\n", f->err.text);
		return 3;
	}
	/* Where the image has none of them, there are an instance's mount points besides.
	 * Type, mode, owner, size, time, name, target; directories' sizes and the root's time are their own. */
	return sh(f, "for p in etc dev proc sys; do [ -e check/rootfs/$p ] || mkdir check/rootfs/$p; done; "
		     "for p in hosts hostname resolv.conf; do p=check/rootfs/etc/$p; [ -e $p ] || : >$p; done; "
		     "for p in etc/hosts etc/hostname etc/resolv.conf etc dev proc sys; do "
		     "touch -r merged/$p check/rootfs/$p; done; "
		     "list() { (cd $1 && find . -mindepth 1 ! -type d -printf '%y %m %U:%G %s %Ts %p %l\\n' && "
		     "find . -mindepth 1 -type d -printf '%y %m %U:%G %Ts %p\\n') | sort; }; "
		     "list merged >ours && list check/rootfs >theirs && diff theirs ours && "
		     "diff -r -x pipe -x node --no-dereference check/rootfs merged && test -s ours")
		       ? 4
		       : 0;
}

static void test_umoci_layers(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	if (!have("umoci") || geteuid() != 0) {
		print_message("needs umoci, and root to mount\n");
		skip();
	}
	must(f, "umoci init --layout l && umoci new --image l:t && umoci unpack --image l:t b");
	must(f,
	     "cd b/rootfs && mkdir -p d/e gone keep/sub usr/bin && echo 1 >d/e/f && echo 2 >gone/x && echo 3 "
	     ">keep/sub/y && "
	     "ln -s /usr/bin bin && echo 4 >usr/bin/tool && ln usr/bin/tool usr/bin/hard && chmod 4755 usr/bin/tool && "
	     "mkfifo pipe && chown 12:34 keep && chmod 1777 d && touch -d @1000 usr/bin && "
	     "mknod node c 1 3; cd ../.. && umoci repack --refresh-bundle --image l:t b");
	must(f, "cd b/rootfs && rm -r gone d/e/f && echo 5 >d/new && rm -r keep && mkdir keep && echo 6 >keep/other && "
		"cd ../.. && umoci repack --refresh-bundle --image l:t b");
	must(f, "cd b/rootfs && rm bin && mkdir bin && echo 7 >bin/own && rm -r usr && echo file >usr && "
		"cd ../.. && umoci repack --refresh-bundle --image l:t b");
	must(f, "cd b/rootfs && rm usr && mkdir -p usr/share && mkdir gone && echo 8 >gone/again && "
		"cd ../.. && umoci repack --refresh-bundle --image l:t b");
	must(f, "umoci unpack --image l:t check && tar -C l -cf l.tar .");
	load(f, "l.tar", "Loaded image: t:latest\n");
	pid = fork();
	if (pid == 0)
		_exit(mount_image(f, "t"));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 77) {
		print_message("no mount namespace of one's own here\n");
		skip();
	}
	if (status != 0)
		show_output(f);
	assert_int_equal(status, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_skopeo), TEST(test_umoci_layers) };

	if (no_openat2())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
