/* SPDX-License-Identifier: Apache-2.0 */
/* guest: what the kernel's command line and the list of modules say, and what becomes of config.json in a machine. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "guest/boot.h"
#include "guest/disks.h"
#include "guest/paradigm.h"

static void test_words(void **state)
{
	cleanup_str struct str line = STR_INIT;
	struct boot_words words;

	(void)state;
	boot_words_read("quiet caisson.agent=hvc0\tcaisson.root=/dev/vda caisson.debug caisson.id=web panic=-1\n",
			&words);
	assert_string_equal(words.agent, "hvc0");
	assert_string_equal(words.root, "/dev/vda");
	assert_string_equal(words.id, "web");
	assert_true(words.debug);
	boot_words_read("xcaisson.agent=hvc0 caisson.debugger caisson.root", &words);
	assert_string_equal(words.agent, "");
	assert_string_equal(words.root, "");
	assert_string_equal(words.id, "workload");
	assert_false(words.debug);
	boot_words_read("", &words);
	assert_string_equal(words.agent, "");
	/* As long as there is room for, and one more. */
	str_append(&line, "caisson.agent=");
	for (size_t i = 0; i < sizeof(words.agent) - 1; i++)
		str_append(&line, "a");
	boot_words_read(line.text, &words);
	assert_int_equal(strlen(words.agent), sizeof(words.agent) - 1);
	str_append(&line, "a");
	boot_words_read(line.text, &words);
	assert_string_equal(words.agent, "");
}

static const struct module_line {
	const char *line, *kind, *word, *name; /* name NULL: not wanted */
} module_lines[] = {
	{ "virtio.ko\nnext.ko", "pv", NULL, "virtio.ko" },
	{ "virtio.ko", "vm", NULL, "virtio.ko" },
	{ "virtio.ko", "pv", "late", NULL },
	{ "virtio.ko pv", "pv", NULL, "virtio.ko" },
	{ "virtio.ko pv\nx vm", "vm", NULL, NULL },
	{ "libata.ko vm", "vm", NULL, "libata.ko" },
	{ "e.ko pv vm", "vm", NULL, "e.ko" },
	{ "fuse.ko share", "pv", NULL, NULL },
	{ "fuse.ko share", "pv", "share", "fuse.ko" },
	{ "fuse.ko share", "pv", "late", NULL },
	{ "rng.ko pv late", "pv", "late", "rng.ko" },
	{ "rng.ko pv late", "vm", "late", NULL },
	{ "rng.ko\tlate  pv", "pv", "late", "rng.ko" },
	{ "virtio_net.ko pv net", "pv", NULL, "virtio_net.ko" },
	{ "virtio_pci.ko pci", "pv", NULL, NULL },
	{ "vsock.ko vsock", "pv", NULL, NULL },
	{ "e1000.ko net pci", "vm", NULL, NULL },
	{ "", "pv", NULL, NULL },
	{ "# pv", "pv", NULL, NULL },
	{ "a-name-that-is-longer-than-any-module-of-any-kernel-will-ever-be-we-think.ko", "pv", NULL, NULL },
};

static bool has_net(const char *word)
{
	return strcmp(word, "net") == 0;
}

static void test_modules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(module_lines) / sizeof(*module_lines); i++) {
		const struct module_line *line = &module_lines[i];
		char name[64];
		bool wanted = boot_module_wanted(line->line, line->kind, line->word, has_net, name);

		if (wanted != (line->name != NULL) || (wanted && strcmp(name, line->name) != 0))
			fail_msg("%s (%s, %s): %s", line->line, line->kind, line->word ? line->word : "-",
				 wanted ? name : "not wanted");
	}
}

static const char config[] =
	"{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"/var/lib/x\",\"readonly\":true},\"hostname\":\"h\","
	"\"process\":{\"args\":[\"true\"],\"cwd\":\"/\",\"user\":{\"uid\":7,\"gid\":8},\"apparmorProfile\":\"p\","
	"\"selinuxLabel\":\"l\",\"noNewPrivileges\":true,\"execCPUAffinity\":{\"initial\":\"3\"}},"
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"/var/x/hosts\",\"options\":[\"rbind\",\"ro\"]},"
	"{\"destination\":\"/data\",\"source\":\"/srv\",\"options\":[\"idmap\",\"rbind\",\"ridmap\",\"nosuid\"],"
	"\"uidMappings\":[{\"containerID\":0,\"hostID\":100000,\"size\":10}]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/var/x/shm\",\"options\":[\"bind\"]},"
	"{\"destination\":\"/dev/init\",\"type\":\"bind\",\"source\":\"/x/"
	"caisson-init\",\"options\":[\"bind\",\"ro\"]}],"
	"\"hooks\":{\"prestart\":[{\"path\":\"/a\"}],\"createRuntime\":[{\"path\":\"/b\"}],"
	"\"createContainer\":[{\"path\":\"/c\"}],\"startContainer\":[{\"path\":\"/d\"}],"
	"\"poststart\":[{\"path\":\"/e\"}],\"poststop\":[{\"path\":\"/f\"}]},"
	"\"linux\":{\"namespaces\":[{\"type\":\"network\",\"path\":\"/run/netns/x\"},{\"type\":\"ipc\",\"path\":\"/"
	"p\"},"
	"{\"type\":\"user\"},{\"type\":\"mount\"}],\"cgroupsPath\":\"/machine/y\",\"mountLabel\":\"m\","
	"\"uidMappings\":[{\"containerID\":0,\"hostID\":100000,\"size\":10}],"
	"\"gidMappings\":[{\"containerID\":0,\"hostID\":100000,\"size\":10}],"
	"\"sysctl\":{\"net.ipv4.ip_forward\":\"1\"},"
	"\"resources\":{\"memory\":{\"limit\":1048576},\"cpu\":{\"quota\":1000,\"cpus\":\"5\"},\"pids\":{\"limit\":9},"
	"\"devices\":[{\"allow\":false,\"access\":\"rwm\"}],\"unified\":{\"memory.high\":\"1\"},"
	"\"blockIO\":{\"weight\":10}},\"maskedPaths\":[\"/proc/kcore\"],"
	"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\"}}}";

/* A directory as the host's FILE and SHARE frames fill it. */
struct handed_in {
	char path[64];
	struct oci_spec spec;
};

static int set_up(void **state)
{
	struct handed_in *handed = calloc(1, sizeof(*handed));
	char file[96];
	int fd;

	assert_non_null(handed);
	(void)snprintf(handed->path, sizeof(handed->path), "/tmp/caisson-mounts.XXXXXX");
	assert_non_null(mkdtemp(handed->path));
	(void)snprintf(file, sizeof(file), "%s/1", handed->path);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	(void)snprintf(file, sizeof(file), "%s/2", handed->path);
	assert_int_equal(symlink("/run/shares/srv/deep", file), 0);
	assert_int_equal(oci_spec_parse(config, strlen(config), &handed->spec, NULL), 0);
	*state = handed;
	return 0;
}

static int tear_down(void **state)
{
	struct handed_in *handed = *state;

	oci_spec_free(&handed->spec);
	assert_int_equal(file_remove_all(AT_FDCWD, handed->path, NULL), 0);
	free(handed);
	return 0;
}

static void test_edit(void **state)
{
	struct handed_in *handed = *state;
	const struct oci_spec *spec = &handed->spec;
	const struct oci_linux *linux_ = &spec->linux_;
	struct error err = ERROR_INIT;

	if (guest_edit_spec(&handed->spec, handed->path, &err) < 0)
		fail_msg("%s", err.text);
	/* Everything new but what the machine is. */
	for (int i = 0; i < OCI_NS_COUNT; i++)
		assert_null(linux_->namespaces[i].path);
	assert_false(linux_->namespaces[OCI_NS_NETWORK].set);
	assert_false(linux_->namespaces[OCI_NS_USER].set);
	assert_false(linux_->namespaces[OCI_NS_TIME].set);
	assert_true(linux_->namespaces[OCI_NS_PID].set);
	assert_true(linux_->namespaces[OCI_NS_MOUNT].set);
	assert_true(linux_->namespaces[OCI_NS_UTS].set);
	assert_int_equal(linux_->uid_mappings.count, 0);
	assert_int_equal(linux_->gid_mappings.count, 0);
	/* The host's. */
	assert_string_equal(linux_->cgroups_path, "/caisson");
	assert_null(linux_->mount_label);
	assert_false(linux_->resources.memory.limit.set);
	assert_false(linux_->resources.cpu.quota.set);
	assert_null(linux_->resources.cpu.cpus);
	assert_false(linux_->resources.block_io.weight.set);
	assert_int_equal(linux_->resources.unified.count, 0);
	assert_null(spec->process.apparmor_profile);
	assert_null(spec->process.selinux_label);
	assert_null(spec->process.exec_cpu_affinity.initial);
	assert_int_equal(spec->hooks.prestart.count, 0);
	assert_int_equal(spec->hooks.create_runtime.count, 0);
	assert_int_equal(spec->hooks.poststart.count, 0);
	assert_int_equal(spec->hooks.poststop.count, 0);
	/* The container's. */
	assert_int_equal(spec->hooks.create_container.count, 1);
	assert_int_equal(spec->hooks.start_container.count, 1);
	assert_true(linux_->resources.pids_limit.set);
	assert_int_equal(linux_->resources.devices_count, 1);
	assert_int_equal(linux_->sysctl.count, 1);
	assert_int_equal(linux_->masked_paths.count, 1);
	assert_true(linux_->seccomp.set);
	assert_true(spec->root.readonly);
	assert_true(spec->process.no_new_privileges);
	assert_int_equal(spec->process.user.uid, 7);
	assert_string_equal(spec->hostname, "h");
}

static void test_mounts(void **state)
{
	struct handed_in *handed = *state;
	const struct oci_mount *mounts = handed->spec.mounts;
	cleanup_close int exe = -1;
	struct stat own, copy;
	char file[96];

	assert_int_equal(guest_edit_spec(&handed->spec, handed->path, NULL), 0);
	assert_int_equal(handed->spec.mounts_count, 5);
	assert_string_equal(mounts[0].source, "proc");
	(void)snprintf(file, sizeof(file), "%s/1", handed->path);
	assert_string_equal(mounts[1].source, file);
	assert_int_equal(mounts[1].options.count, 2);
	assert_string_equal(mounts[2].source, "/run/shares/srv/deep");
	assert_int_equal(mounts[2].uid_mappings.count, 0);
	assert_int_equal(mounts[2].options.count, 2);
	assert_string_equal(mounts[2].options.items[0], "rbind");
	assert_string_equal(mounts[2].options.items[1], "nosuid");
	assert_null(mounts[2].options.items[2]);
	/* Shared memory is the machine's. */
	assert_string_equal(mounts[3].type, "tmpfs");
	/* The agent's program is there already. */
	(void)snprintf(file, sizeof(file), "%s/4", handed->path);
	assert_string_equal(mounts[4].source, file);
	/* Opened: valgrind shows its own program to stat(2), but not to open(2). */
	exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_true(fstat(exe, &own) == 0 && stat(file, &copy) == 0);
	assert_true(own.st_size == copy.st_size && (copy.st_mode & 0111) == 0111);
}

static void test_missing(void **state)
{
	struct handed_in *handed = *state;
	struct error err = ERROR_INIT;
	char file[96];

	(void)snprintf(file, sizeof(file), "%s/2", handed->path);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(guest_edit_spec(&handed->spec, handed->path, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/data"));
	assert_non_null(strstr(err.text, "/srv"));
}

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

/* /sys/block as the kernel shows it: a disk with what it is behind, its number, and perhaps a partition. */
static void put_disk(const char *sys_block, const char *name, const char *device, const char *number, bool partition)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", sys_block, name);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/%s/device", sys_block, name);
	assert_int_equal(symlink(device, path), 0);
	(void)snprintf(path, sizeof(path), "%s/%s/dev", sys_block, name);
	put_text(path, number);
	if (!partition)
		return;
	(void)snprintf(path, sizeof(path), "%s/%s/%s1", sys_block, name, name);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/%s/%s1/dev", sys_block, name, name);
	put_text(path, "259:7\n");
}

static void assert_node(const struct oci_spec *spec, size_t index, const char *path, uint32_t major, uint32_t minor)
{
	const struct oci_device_node *node = &spec->linux_.devices[index];
	/* The configuration has a rule of its own before them. */
	const struct oci_device_rule *rule = &spec->linux_.resources.devices[index + 1];

	assert_string_equal(node->path, path);
	assert_true(node->type == 'b' && node->major == major && node->minor == minor);
	assert_true(rule->allow && rule->type == 'b' && rule->read && rule->write);
	assert_true(rule->major.value == major && rule->minor.value == minor);
}

static void test_disks(void **state)
{
	struct handed_in *handed = *state;
	struct guest_disk disks[GUEST_DISKS_MAX];
	struct error err = ERROR_INIT;
	char sys_block[96], name[16];

	(void)snprintf(sys_block, sizeof(sys_block), "%s/block", handed->path);
	assert_int_equal(mkdir(sys_block, 0700), 0);
	assert_int_equal(disks_add(&handed->spec, sys_block, NULL), 0); /* the machine has no more than its root */
	assert_int_equal(handed->spec.linux_.devices_count, 0);
	/* The kernel had the second channel's disk first, and the first channel's second before its first. */
	put_disk(sys_block, "sda", "../../../1:0:0:0", "8:0\n", true);
	assert_false(disks_find_first_ata(sys_block, name));
	put_disk(sys_block, "sdb", "../../../0:0:1:0", "8:16\n", false);
	put_disk(sys_block, "loop0", "../x", "7:0\n", false);
	assert_false(disks_find_first_ata(sys_block, name));
	put_disk(sys_block, "sdc", "../../../0:0:0:0", "8:32\n", false);
	assert_true(disks_find_first_ata(sys_block, name));
	assert_string_equal(name, "sdc");
	assert_int_equal(disks_find(sys_block, disks), 3);
	assert_string_equal(disks[2].kernel_name, "sda");
	assert_string_equal(disks[2].name, "sdc");
	handed->spec.annotations.count = 1;
	handed->spec.annotations.items = (struct oci_pair[]){ { "org.caisson.vm.disk", "/a\n/b,ro\n" } };
	if (disks_add(&handed->spec, sys_block, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(handed->spec.linux_.devices_count, 3);
	assert_node(&handed->spec, 0, "/dev/sdb", 8, 16);
	assert_node(&handed->spec, 1, "/dev/sdc", 8, 0);
	assert_node(&handed->spec, 2, "/dev/sdc1", 259, 7);
}

static void test_paravirtual_disks(void **state)
{
	struct handed_in *handed = *state;
	struct guest_disk disks[GUEST_DISKS_MAX];
	static const char *const names[] = { "vdaa", "vdb", "vda" };
	char sys_block[96], name[16];

	(void)snprintf(sys_block, sizeof(sys_block), "%s/block", handed->path);
	assert_int_equal(mkdir(sys_block, 0700), 0);
	for (size_t i = 0; i < 3; i++)
		put_disk(sys_block, names[i], "../../../virtio0", "254:0\n", false);
	assert_int_equal(disks_find(sys_block, disks), 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(disks[i].name, names[2 - i]);
	assert_false(disks_find_first_ata(sys_block, name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_modules),
		cmocka_unit_test_setup_teardown(test_edit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_mounts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_missing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_paravirtual_disks, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
