/* SPDX-License-Identifier: Apache-2.0 */
/* spec/runtime and spec/generate: documents that hold, documents that do not, and the two that we write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "linux/capability.h"
#include "spec/generate.h"
#include "spec/runtime.h"

/* Where a fragment is put into an otherwise good document. */
enum where { TOP, PROCESS, LINUX, RESOURCES };

struct sample {
	enum where where;
	const char *fragment; /* members of that object */
	const char *expected; /* the whole error */
};

static char *document(enum where where, const char *fragment)
{
	struct str text = STR_INIT;

	str_append(&text, "{");
	if (where == TOP)
		str_printf(&text, "%s", fragment);
	else
		str_append(&text, "\"ociVersion\":\"1.0.2-dev\",\"root\":{\"path\":\"rootfs\"}");
	if (where == PROCESS)
		str_printf(&text, ",\"process\":{%s}", fragment);
	else if (where != TOP)
		str_append(&text, ",\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"],\"user\":{\"uid\":0,\"gid\":0}}");
	if (where == LINUX)
		str_printf(&text, ",\"linux\":{%s}", fragment);
	else if (where == RESOURCES)
		str_printf(&text, ",\"linux\":{\"resources\":{%s}}", fragment);
	str_append(&text, "}");
	return str_take(&text);
}

static struct oci_spec parse_good(enum where where, const char *fragment)
{
	cleanup_free char *text = document(where, fragment);
	struct error err = ERROR_INIT;
	struct oci_spec spec;

	assert_non_null(text);
	if (oci_spec_parse(text, strlen(text), &spec, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return spec;
}

#define PLAIN  "\"cwd\":\"/\",\"args\":[\"sh\"]"
#define SPECV  "\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"}"
#define FILTER "\"defaultAction\":\"SCMP_ACT_ERRNO\""

#define TOP_GOOD "\"ociVersion\":\"1.3.0\",\"root\":{\"path\":\"/r\"},"

static const struct sample bad[] = {
	{ TOP, "\"root\":{\"path\":\"r\"}", "ociVersion: is required" },
	{ TOP, "\"ociVersion\":null,\"root\":{\"path\":\"r\"}", "ociVersion: is required" },
	{ TOP, "\"ociVersion\":\"\"", "ociVersion: must not be empty" },
	{ TOP, "\"ociVersion\":102", "ociVersion: expected a string, got an integer" },
	{ TOP, "\"ociVersion\":\"1.0\"", "ociVersion: \"1.0\" is no version like \"1.2.0\" (see semver.org)" },
	{ TOP, "\"ociVersion\":\"1.0.01\"", "ociVersion: \"1.0.01\" is no version like \"1.2.0\" (see semver.org)" },
	{ TOP, "\"ociVersion\":\"1.0.0-\"", "ociVersion: \"1.0.0-\" is no version like \"1.2.0\" (see semver.org)" },
	{ TOP, "\"ociVersion\":\"2.0.0\"",
	  "ociVersion: version 2.0.0 of the specification is not supported, 1.0.0 and later 1.x are" },
	{ TOP, TOP_GOOD "\"vm\":[]", "vm: expected an object, got an array" },
	{ TOP, TOP_GOOD "\"vm\":{\"kernel\":{}}", "vm.kernel.path: is required" },
	{ TOP, TOP_GOOD "\"vm\":{\"kernel\":{\"path\":\"k\"}}", "vm.kernel.path: must be an absolute path, not \"k\"" },
	{ TOP, TOP_GOOD "\"vm\":{\"image\":{\"path\":\"/i\"}}", "vm.image.format: is required" },
	{ TOP, TOP_GOOD "\"vm\":{\"image\":{\"path\":\"/i\",\"format\":\"iso\"}}",
	  "vm.image.format: unknown image format: \"iso\"" },
	{ TOP, TOP_GOOD "\"vm\":{\"hwConfig\":{\"vcpus\":-1}}",
	  "vm.hwConfig.vcpus: -1 is out of range (0 to 4294967295)" },
	{ TOP, "\"ociVersion\":\"1.0.2\"", "root: root must be specified" },
	{ TOP, "\"ociVersion\":\"1.0.2\",\"root\":{}", "root.path: is required" },
	{ TOP, "\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"\"}", "root.path: must not be empty" },
	{ TOP, "\"ociVersion\":\"1.0.2\",\"root\":{\"path\":7}", "root.path: expected a string, got an integer" },
	{ TOP, "\"ociVersion\":\"1.0.2\",\"root\":[]", "root: expected an object, got an array" },
	{ TOP, SPECV ",\"root\":{\"path\":\"other\"}", "root: is there twice" },
	{ TOP, SPECV ",\"hostname\":\"a\",\"hostname\":\"b\"", "hostname: is there twice" },
	{ TOP, SPECV ",\"domainname\":1.5", "domainname: expected a string, got a number that is no 64-bit integer" },
	{ TOP, SPECV ",\"mounts\":{}", "mounts: expected an array, got an object" },
	{ TOP, SPECV ",\"mounts\":[{}]", "mounts[0].destination: is required" },
	{ TOP, SPECV ",\"mounts\":[{\"destination\":\"/a\"},{\"destination\":\"\"}]",
	  "mounts[1].destination: must not be empty" },
	{ TOP, SPECV ",\"mounts\":[{\"destination\":\"/a\",\"options\":[\"ro\",1]}]",
	  "mounts[0].options[1]: expected a string, got an integer" },
	{ TOP, SPECV ",\"mounts\":[null]", "mounts[0]: expected an object, got null" },
	{ TOP, SPECV ",\"annotations\":{\"\":\"x\"}", "annotations: a key must not be empty" },
	{ TOP, SPECV ",\"annotations\":{\"a\":1}", "annotations.a: expected a string, got an integer" },
	{ TOP, SPECV ",\"annotations\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}", "annotations.a: is there twice" },
	{ TOP, SPECV ",\"hooks\":{\"prestart\":[{}]}", "hooks.prestart[0].path: is required" },
	{ TOP, SPECV ",\"hooks\":{\"prestart\":[{\"path\":\"\"}]}", "hooks.prestart[0].path: must not be empty" },
	{ TOP, SPECV ",\"hooks\":{\"poststop\":[{\"path\":\"/a\"},{\"path\":\"a\"}]}",
	  "hooks.poststop[1].path: must be an absolute path, not \"a\"" },
	{ TOP, SPECV ",\"hooks\":{\"createRuntime\":[{\"path\":\"/a\",\"timeout\":0}]}",
	  "hooks.createRuntime[0].timeout: 0 is out of range (1 to 2147483647)" },
	{ TOP, SPECV ",\"hooks\":{\"createRuntime\":[{\"path\":\"/a\",\"timeout\":-1}]}",
	  "hooks.createRuntime[0].timeout: -1 is out of range (1 to 2147483647)" },

	{ PROCESS, "\"args\":[\"sh\"]", "process.cwd: Cwd property must not be empty" },
	{ PROCESS, "\"args\":[\"sh\"],\"cwd\":\"\"", "process.cwd: Cwd property must not be empty" },
	{ PROCESS, "\"args\":[\"sh\"],\"cwd\":\"tmp\"", "process.cwd: Cwd must be an absolute path" },
	{ PROCESS, "\"cwd\":\"/\"", "process.args: args must not be empty" },
	{ PROCESS, "\"cwd\":\"/\",\"args\":[]", "process.args: args must not be empty" },
	{ PROCESS, "\"cwd\":\"/\",\"args\":\"sh\"", "process.args: expected an array, got a string" },
	{ PROCESS, PLAIN ",\"env\":[\"A=1\",\"B\"]", "process.env: invalid environment variable: \"B\"" },
	{ PROCESS, PLAIN ",\"env\":[\"=1\"]", "process.env: environment variable name can't be empty: \"=1\"" },
	{ PROCESS, PLAIN ",\"user\":{\"gid\":0}", "process.user.uid: is required" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":-1,\"gid\":0}", "process.user.uid: -1 is out of range (0 to 4294967294)" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":4294967295,\"gid\":0}",
	  "process.user.uid: 4294967295 is out of range (0 to 4294967294)" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":4294967296,\"gid\":0}",
	  "process.user.uid: 4294967296 is out of range (0 to 4294967294)" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":1.0,\"gid\":0}", "process.user.uid: expected an integer, got 1.0" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":1e3,\"gid\":0}", "process.user.uid: expected an integer, got 1e3" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":99999999999999999999999,\"gid\":0}",
	  "process.user.uid: expected an integer, got 99999999999999999999999" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":\"0\",\"gid\":0}", "process.user.uid: expected an integer, got a string" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":0,\"gid\":0,\"additionalGids\":[5,-3]}",
	  "process.user.additionalGids[1]: -3 is out of range (0 to 4294967294)" },
	{ PROCESS, PLAIN ",\"user\":{\"uid\":0,\"gid\":0,\"umask\":4096}",
	  "process.user.umask: 4096 is out of range (0 to 4095)" },
	{ PROCESS, PLAIN ",\"terminal\":1", "process.terminal: expected a boolean, got an integer" },
	{ PROCESS, PLAIN ",\"consoleSize\":{\"height\":1}", "process.consoleSize.width: is required" },
	{ PROCESS, PLAIN ",\"capabilities\":{\"bounding\":[\"CAP_KILL\",true]}",
	  "process.capabilities.bounding[1]: expected a string, got a boolean" },
	{ PROCESS, PLAIN ",\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]",
	  "process.rlimits[0].type: wrong rlimit value: RLIMIT_X" },
	{ PROCESS, PLAIN ",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":1}]", "process.rlimits[0].hard: is required" },
	{ PROCESS, PLAIN ",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":-1,\"hard\":1}]",
	  "process.rlimits[0].soft: -1 is out of range (0 to 18446744073709551615)" },
	{ PROCESS,
	  PLAIN
	  ",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":1,\"hard\":1},{\"type\":\"RLIMIT_AS\",\"soft\":1,\"hard\":"
	  "1}]",
	  "process.rlimits: RLIMIT_AS is there twice" },
	{ PROCESS, PLAIN ",\"oomScoreAdj\":1001", "process.oomScoreAdj: 1001 is out of range (-1000 to 1000)" },
	{ PROCESS, PLAIN ",\"oomScoreAdj\":-1001", "process.oomScoreAdj: -1001 is out of range (-1000 to 1000)" },
	{ PROCESS, PLAIN ",\"scheduler\":{}", "process.scheduler.policy: is required" },
	{ PROCESS, PLAIN ",\"scheduler\":{\"policy\":\"SCHED_X\"}",
	  "process.scheduler.policy: invalid scheduler policy: SCHED_X" },
	{ PROCESS, PLAIN ",\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"nice\":20}",
	  "process.scheduler.nice: invalid scheduler nice: 20" },
	{ PROCESS, PLAIN ",\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"priority\":1}",
	  "process.scheduler.priority: scheduler priority can only be specified for SchedFIFO or SchedRR policy" },
	{ PROCESS, PLAIN ",\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"period\":1}",
	  "process.scheduler: scheduler runtime/deadline/period can only be specified for SchedDeadline policy" },
	{ PROCESS, PLAIN ",\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"flags\":[\"\"]}",
	  "process.scheduler.flags[0]: invalid scheduler flag: " },
	{ PROCESS, PLAIN ",\"ioPriority\":{\"class\":\"IOPRIO_CLASS_NONE\",\"priority\":0}",
	  "process.ioPriority.class: invalid ioPriority.Class: \"IOPRIO_CLASS_NONE\"" },
	{ PROCESS, PLAIN ",\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":8}",
	  "process.ioPriority.priority: invalid ioPriority.Priority: 8" },
	{ PROCESS, PLAIN ",\"execCPUAffinity\":{\"initial\":\"0-\"}",
	  "process.execCPUAffinity.initial: invalid CPU affinity: \"0-\" is no list of CPUs like \"0-3,7\"" },

	{ LINUX, "\"namespaces\":[{}]", "linux.namespaces[0].type: is required" },
	{ LINUX, "\"namespaces\":[{\"type\":\"pod\"}]",
	  "linux.namespaces[0]: namespace {\"pod\" \"\"} does not exist" },
	{ LINUX, "\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\",\"path\":\"/x\"}]",
	  "linux.namespaces[1]: malformed spec file: duplicated ns {\"pid\" \"/x\"}" },
	{ LINUX, "\"namespaces\":[{\"type\":\"pid\",\"path\":\"x\"}]",
	  "linux.namespaces[0].path: must be an absolute path, not \"x\"" },
	{ LINUX, "\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":0}]",
	  "linux.uidMappings[0].size: 0 is out of range (1 to 4294967295)" },
	{ LINUX, "\"gidMappings\":[{\"containerID\":1,\"hostID\":0,\"size\":4294967295}]",
	  "linux.gidMappings[0]: the mapping reaches beyond the last id, 4294967294" },
	{ LINUX, "\"timeOffsets\":{\"realtime\":{}}",
	  "linux.timeOffsets.realtime: clock must be \"monotonic\" or \"boottime\"" },
	{ LINUX, "\"timeOffsets\":{\"boottime\":{\"nanosecs\":1000000000}}",
	  "linux.timeOffsets.boottime.nanosecs: 1000000000 is out of range (0 to 999999999)" },
	{ LINUX, "\"devices\":[{\"path\":\"/dev/x\",\"major\":1,\"minor\":1}]", "linux.devices[0].type: is required" },
	{ LINUX, "\"devices\":[{\"type\":\"d\",\"path\":\"/dev/x\"}]",
	  "linux.devices[0].type: invalid device type \"d\"" },
	{ LINUX, "\"devices\":[{\"type\":\"c\",\"path\":\"/dev/x\",\"minor\":3}]",
	  "linux.devices[0].major: is required" },
	{ LINUX, "\"devices\":[{\"type\":\"b\",\"path\":\"/dev/x\",\"major\":3,\"minor\":null}]",
	  "linux.devices[0].minor: is required" },
	{ LINUX, "\"devices\":[{\"type\":\"b\",\"path\":\"dev/x\",\"major\":3,\"minor\":1}]",
	  "linux.devices[0].path: must be an absolute path, not \"dev/x\"" },
	{ LINUX, "\"devices\":[{\"type\":\"c\",\"path\":\"/dev/x\",\"major\":4097,\"minor\":3}]",
	  "linux.devices[0].major: 4097 is out of range (0 to 4095)" },
	{ LINUX, "\"netDevices\":{\"eth0\":{\"name\":\"a/b\"}}",
	  "linux.netDevices: \"a/b\" is no name for a network device" },
	{ LINUX, "\"netDevices\":{\"eth%d\":{}}", "linux.netDevices: \"eth%d\" is no name for a network device" },
	{ LINUX, "\"netDevices\":{\"eth0\":{\"name\":\"%s\"}}",
	  "linux.netDevices: \"%s\" is no name for a network device" },
	{ LINUX, "\"netDevices\":{\"eth0\":{\"name\":\"e%dx%d\"}}",
	  "linux.netDevices: \"e%dx%d\" is no name for a network device" },
	{ LINUX, "\"netDevices\":{\"sixteen-letters!\":{}}",
	  "linux.netDevices: \"sixteen-letters!\" is no name for a network device" },
	{ LINUX, "\"rootfsPropagation\":\"public\"",
	  "linux.rootfsPropagation: rootfsPropagation=public is not supported" },
	{ LINUX, "\"maskedPaths\":[\"/a\",\"b\"]", "linux.maskedPaths[1]: must be an absolute path, not \"b\"" },
	{ LINUX, "\"readonlyPaths\":[\"\"]", "linux.readonlyPaths[0]: must not be empty" },
	{ LINUX, "\"sysctl\":{\"a\":1}", "linux.sysctl.a: expected a string, got an integer" },
	{ LINUX, "\"intelRdt\":{\"closID\":\"..\"}", "linux.intelRdt.closID: invalid intelRdt.ClosID \"..\"" },
	{ LINUX, "\"intelRdt\":{\"memBwSchema\":\"L3:0=1\"}",
	  "linux.intelRdt.memBwSchema: must be one line that begins with \"MB:\"" },
	{ LINUX, "\"memoryPolicy\":{\"mode\":\"MPOL_X\"}",
	  "linux.memoryPolicy.mode: invalid memory policy mode: \"MPOL_X\"" },
	{ LINUX, "\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"3-1\"}",
	  "linux.memoryPolicy.nodes: invalid memory policy nodes: \"3-1\"" },
	{ LINUX, "\"personality\":{\"domain\":\"BSD\"}",
	  "linux.personality.domain: unknown personality domain \"BSD\"" },
	{ LINUX, "\"personality\":{\"domain\":\"LINUX\",\"flags\":[\"X\"]}",
	  "linux.personality.flags: personality flags are not supported" },

	{ LINUX, "\"seccomp\":{}", "linux.seccomp.defaultAction: is required" },
	{ LINUX, "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_X\"}",
	  "linux.seccomp.defaultAction: string SCMP_ACT_X is not a valid action for seccomp" },
	{ LINUX, "\"seccomp\":{\"defaultAction\":\"\"}",
	  "linux.seccomp.defaultAction: string  is not a valid action for seccomp" },
	{ LINUX, "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}",
	  "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action" },
	{ LINUX, "\"seccomp\":{" FILTER ",\"architectures\":[\"SCMP_ARCH_VAX\"]}",
	  "linux.seccomp.architectures[0]: string SCMP_ARCH_VAX is not a valid arch for seccomp" },
	{ LINUX, "\"seccomp\":{" FILTER ",\"flags\":[\"X\"]}",
	  "linux.seccomp.flags[0]: seccomp flag \"X\" is not known" },
	{ LINUX, "\"seccomp\":{" FILTER ",\"defaultErrnoRet\":4096}",
	  "linux.seccomp.defaultErrnoRet: 4096 is out of range (0 to 4095)" },
	{ LINUX, "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}",
	  "linux.seccomp.defaultErrnoRet: action SCMP_ACT_ALLOW takes no errno" },
	{ LINUX, "\"seccomp\":{" FILTER ",\"listenerMetadata\":\"x\"}",
	  "linux.seccomp.listenerMetadata: is set, but listenerPath is not" },
	{ LINUX, "\"seccomp\":{" FILTER ",\"syscalls\":[{\"names\":[],\"action\":\"SCMP_ACT_ALLOW\"}]}",
	  "linux.seccomp.syscalls[0].names: must contain at least one entry" },
	{ LINUX, "\"seccomp\":{" FILTER ",\"syscalls\":[{\"names\":[\"write\"],\"action\":\"SCMP_ACT_NOTIFY\"}]}",
	  "linux.seccomp.syscalls: SCMP_ACT_NOTIFY cannot be used for the write syscall" },
	{ LINUX,
	  "\"seccomp\":{" FILTER
	  ",\"syscalls\":[{\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":6,"
	  "\"value\":0,\"op\":\"SCMP_CMP_EQ\"}]}]}",
	  "linux.seccomp.syscalls[0].args[0].index: 6 is out of range (0 to 5)" },
	{ LINUX,
	  "\"seccomp\":{" FILTER
	  ",\"syscalls\":[{\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,"
	  "\"value\":0,\"op\":\"==\"}]}]}",
	  "linux.seccomp.syscalls[0].args[0].op: string == is not a valid operator for seccomp" },

	{ RESOURCES, "\"memory\":{\"limit\":\"1g\"}",
	  "linux.resources.memory.limit: expected an integer, got a string" },
	{ RESOURCES, "\"memory\":{\"limit\":-2}",
	  "linux.resources.memory.limit: -2 is out of range (-1 to 9223372036854775807)" },
	{ RESOURCES, "\"memory\":{\"swap\":9223372036854775808}",
	  "linux.resources.memory.swap: 9223372036854775808 is out of range (-1 to 9223372036854775807)" },
	{ RESOURCES, "\"memory\":{\"swappiness\":101}",
	  "linux.resources.memory.swappiness: 101 is out of range (0 to 100)" },
	{ RESOURCES, "\"cpu\":{\"shares\":-1}",
	  "linux.resources.cpu.shares: -1 is out of range (0 to 18446744073709551615)" },
	{ RESOURCES, "\"blockIO\":{\"weight\":65536}",
	  "linux.resources.blockIO.weight: 65536 is out of range (0 to 65535)" },
	{ RESOURCES, "\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":0}]}",
	  "linux.resources.blockIO.weightDevice[0]: needs a weight or a leafWeight" },
	{ RESOURCES, "\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0}]}",
	  "linux.resources.blockIO.throttleReadBpsDevice[0].rate: is required" },
	{ RESOURCES, "\"hugepageLimits\":[{\"pageSize\":\"2M\",\"limit\":1}]",
	  "linux.resources.hugepageLimits[0].pageSize: \"2M\" is no page size like \"64KB\", \"2MB\" or \"1GB\"" },
	{ RESOURCES, "\"hugepageLimits\":[{\"pageSize\":\"../2MB\",\"limit\":1}]",
	  "linux.resources.hugepageLimits[0].pageSize: \"../2MB\" is no page size like \"64KB\", \"2MB\" or \"1GB\"" },
	{ RESOURCES, "\"devices\":[{\"access\":\"rwm\"}]", "linux.resources.devices[0].allow: is required" },
	{ RESOURCES, "\"devices\":[{\"allow\":true,\"access\":\"rwx\"}]",
	  "linux.resources.devices[0].access: invalid cgroup device access \"rwx\": only r, w and m are known" },
	{ RESOURCES, "\"devices\":[{\"allow\":true,\"type\":\"p\"}]",
	  "linux.resources.devices[0].type: invalid cgroup device type \"p\"" },
	{ RESOURCES, "\"network\":{\"classID\":4294967296}",
	  "linux.resources.network.classID: 4294967296 is out of range (0 to 4294967295)" },
	{ RESOURCES, "\"rdma\":{\"mlx\":{}}", "linux.resources.rdma.mlx: needs hcaHandles or hcaObjects" },
	{ RESOURCES, "\"unified\":{\"../x\":\"1\"}",
	  "linux.resources.unified: unified resource \"../x\" must be a file name (no slashes)" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cleanup_free char *text = document(bad[i].where, bad[i].fragment);
		struct error err = ERROR_INIT;
		struct oci_spec spec;

		assert_non_null(text);
		if (oci_spec_parse(text, strlen(text), &spec, &err) == 0)
			fail_msg("%s was taken, expected \"%s\"", text, bad[i].expected);
		assert_string_equal(err.text, bad[i].expected);
		assert_int_equal(err.code, EINVAL);
	}
}

static void test_not_json(void **state)
{
	static const char text[] = "{\n\t\"ociVersion\": \"1.0.0\",\n}";
	struct error err = ERROR_INIT;
	struct oci_spec spec;

	(void)state;
	assert_int_equal(oci_spec_parse(text, sizeof(text) - 1, &spec, &err), -EINVAL);
	assert_string_equal(err.text,
			    "not valid JSON: line 3, column 1: expected the name of a member in double quotes");
	assert_int_equal(oci_spec_parse("[]", 2, &spec, &err), -EINVAL);
	assert_string_equal(err.text, "expected an object, got an array");
	assert_int_equal(oci_spec_parse("", 0, &spec, NULL), -EINVAL);
}

/* null and "" are how Go programs say "not set"; what nobody knows is passed over. */
static void test_absent(void **state)
{
	struct oci_spec spec = parse_good(
		TOP, SPECV ",\"process\":null,\"mounts\":null,\"hooks\":null,\"linux\":{\"cgroupsPath\":\"\","
			   "\"seccomp\":null,\"rootfsPropagation\":\"\",\"resources\":{\"memory\":null,\"pids\":{}},"
			   "\"uidMappings\":[],\"future\":{\"x\":[1,2]}},\"windows\":{\"a\":{}},\"process\":null");

	(void)state;
	assert_false(spec.process.set);
	assert_int_equal(spec.mounts_count, 0);
	assert_null(spec.linux_.cgroups_path);
	assert_null(spec.linux_.rootfs_propagation);
	assert_false(spec.linux_.seccomp.set);
	assert_null(spec.linux_.seccomp.canonical);
	assert_false(spec.linux_.resources.memory.limit.set);
	assert_false(spec.linux_.resources.pids_limit.set);
	assert_int_equal(spec.linux_.uid_mappings.count, 0);
	assert_null(oci_spec_annotation(&spec, "a"));
	oci_spec_free(&spec);
	assert_null(spec.oci_version);
}

static void test_top(void **state)
{
	struct oci_spec spec = parse_good(
		TOP,
		"\"ociVersion\":\"1.0.2-dev+x.1\",\"root\":{\"path\":\"/r\",\"readonly\":true},\"hostname\":\"h\","
		"\"domainname\":\"d\",\"annotations\":{\"a\":\"1\",\"b\":\"\"},\"mounts\":[{\"destination\":\"proc\","
		"\"type\":\"proc\",\"source\":\"proc\"},{\"destination\":\"/x\",\"options\":[\"bind\",\"ro\"],"
		"\"uidMappings\":[{\"containerID\":1,\"hostID\":2,\"size\":3}],\"gidMappings\":[]}],"
		"\"hooks\":{\"prestart\":[{\"path\":\"/h\",\"args\":[\"h\",\"a\"],\"env\":[\"K=V\"],\"timeout\":5}],"
		"\"poststop\":[{\"path\":\"/p\"}]}");

	(void)state;
	assert_string_equal(spec.oci_version, "1.0.2-dev+x.1");
	assert_string_equal(spec.root.path, "/r");
	assert_true(spec.root.readonly);
	assert_string_equal(spec.hostname, "h");
	assert_string_equal(spec.domainname, "d");
	assert_string_equal(oci_spec_annotation(&spec, "a"), "1");
	assert_string_equal(oci_spec_annotation(&spec, "b"), "");
	assert_int_equal(spec.mounts_count, 2);
	assert_string_equal(spec.mounts[0].destination, "/proc");
	assert_int_equal(spec.mounts[0].options.count, 0);
	assert_int_equal(spec.mounts[1].options.count, 2);
	assert_null(spec.mounts[1].type);
	assert_string_equal(spec.mounts[1].options.items[1], "ro");
	assert_null(spec.mounts[1].options.items[2]);
	assert_int_equal(spec.mounts[1].uid_mappings.count, 1);
	assert_int_equal(spec.mounts[1].uid_mappings.items[0].host_id, 2);
	assert_int_equal(spec.hooks.prestart.count, 1);
	assert_int_equal(spec.hooks.prestart.items[0].timeout.value, 5);
	assert_string_equal(spec.hooks.prestart.items[0].args.items[1], "a");
	assert_string_equal(spec.hooks.poststop.items[0].path, "/p");
	assert_false(spec.hooks.poststop.items[0].timeout.set);
	oci_spec_free(&spec);
}

static void test_vm(void **state)
{
	struct oci_spec spec = parse_good(
		TOP, TOP_GOOD
		"\"vm\":{\"hypervisor\":{\"path\":\"/h\",\"parameters\":[\"a\",\"b\"]},\"kernel\":{\"path\":\"/k\","
		"\"parameters\":[\"quiet\"],\"initrd\":\"/i\"},\"image\":{\"path\":\"/d\",\"format\":\"qcow2\"},"
		"\"hwConfig\":{\"vcpus\":2,\"memory\":18446744073709551615,\"deviceTree\":\"/t\"}}");

	(void)state;
	assert_true(spec.vm.set);
	assert_string_equal(spec.vm.hypervisor.path, "/h");
	assert_int_equal(spec.vm.hypervisor.parameters.count, 2);
	assert_string_equal(spec.vm.kernel.path, "/k");
	assert_string_equal(spec.vm.kernel.parameters.items[0], "quiet");
	assert_string_equal(spec.vm.kernel.initrd, "/i");
	assert_string_equal(spec.vm.image.path, "/d");
	assert_string_equal(spec.vm.image.format, "qcow2");
	assert_int_equal(spec.vm.hardware.vcpus, 2);
	assert_true(spec.vm.hardware.memory == UINT64_MAX);
	oci_spec_free(&spec);
	spec = parse_good(TOP, TOP_GOOD "\"vm\":{\"hwConfig\":{}}");
	assert_true(spec.vm.set && !spec.vm.kernel.path && !spec.vm.image.path && spec.vm.hardware.memory == 0);
	oci_spec_free(&spec);
}

static void test_process(void **state)
{
	struct oci_spec spec = parse_good(
		PROCESS, PLAIN
		",\"terminal\":true,\"consoleSize\":{\"height\":24,\"width\":80},\"user\":{\"uid\":1000,"
		"\"gid\":4294967294,\"umask\":18,\"additionalGids\":[5,6],\"username\":\"u\"},\"env\":[\"A=b=c\"],"
		"\"noNewPrivileges\":true,\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_CHECKPOINT_RESTORE\","
		"\"CAP_FUTURE\"],\"ambient\":[\"CAP_PAST\"],\"effective\":[\"CAP_NET_ADMIN\"],\"permitted\":null},"
		"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":18446744073709551615,\"soft\":1024}],"
		"\"oomScoreAdj\":-999,\"apparmorProfile\":\"p\",\"selinuxLabel\":\"l\",\"scheduler\":{\"policy\":"
		"\"SCHED_DEADLINE\",\"runtime\":1,\"deadline\":2,\"period\":3,\"flags\":[\"SCHED_FLAG_RECLAIM\"]},"
		"\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":7},\"execCPUAffinity\":{\"initial\":"
		"\"0-3, 7\",\"final\":\"\"}");
	const struct oci_process *process = &spec.process;

	(void)state;
	assert_true(process->set && process->terminal && process->no_new_privileges && process->console_size.set);
	assert_int_equal(process->console_size.height, 24);
	assert_int_equal(process->user.uid, 1000);
	assert_int_equal(process->user.gid, 4294967294);
	assert_int_equal(process->user.umask.value, 022);
	assert_int_equal(process->user.additional_gids_count, 2);
	assert_int_equal(process->user.additional_gids[1], 6);
	assert_string_equal(process->env.items[0], "A=b=c");
	assert_null(process->env.items[1]);
	assert_true(process->capabilities.set);
	assert_int_equal(process->capabilities.bounding, 1 | UINT64_C(1) << 40);
	assert_int_equal(process->capabilities.effective, 1 << 12);
	assert_int_equal(process->capabilities.permitted, 0);
	assert_int_equal(process->capabilities.unknown.count, 2);
	assert_string_equal(process->capabilities.unknown.items[0], "CAP_FUTURE");
	assert_string_equal(process->capabilities.unknown.items[1], "CAP_PAST");
	assert_null(process->capabilities.unknown.items[2]);
	assert_int_equal(process->rlimits_count, 1);
	assert_true(process->rlimits[0].hard == UINT64_MAX);
	assert_int_equal(process->rlimits[0].soft, 1024);
	assert_int_equal(process->oom_score_adj.value, -999);
	assert_string_equal(process->scheduler.policy, "SCHED_DEADLINE");
	assert_int_equal(process->scheduler.period, 3);
	assert_string_equal(process->io_priority.class, "IOPRIO_CLASS_BE");
	assert_int_equal(process->io_priority.priority, 7);
	assert_string_equal(process->exec_cpu_affinity.initial, "0-3, 7");
	assert_null(process->exec_cpu_affinity.final);
	oci_spec_free(&spec);
}

static void test_linux(void **state)
{
	struct oci_spec spec = parse_good(
		LINUX,
		"\"namespaces\":[{\"type\":\"time\"},{\"type\":\"network\",\"path\":\"/run/netns/"
		"x\"},{\"type\":\"pid\","
		"\"path\":\"\"}],\"uidMappings\":[{\"containerID\":0,\"hostID\":4294967290,\"size\":5}],"
		"\"timeOffsets\":"
		"{\"monotonic\":{\"secs\":-9223372036854775808,\"nanosecs\":999999999}},\"devices\":[{\"type\":\"u\","
		"\"path\":\"/dev/"
		"fuse\",\"major\":10,\"minor\":229,\"fileMode\":438,\"uid\":0},{\"type\":\"p\",\"path\":"
		"\"/dev/fifo\"}],\"netDevices\":{\"eth0\":{\"name\":\"net%d\"},\"eth1\":{}},\"cgroupsPath\":\"/a/b\","
		"\"intelRdt\":{\"closID\":\"c\",\"schemata\":[\"L3:0=f\",\"MB:0=20\"],\"enableMonitoring\":true},"
		"\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"0,2-3\",\"flags\":[\"MPOL_F_STATIC_NODES\"]},"
		"\"sysctl\":{\"net.ipv4.ip_forward\":\"1\"},\"rootfsPropagation\":\"rslave\",\"maskedPaths\":[\"/proc/"
		"kcore\"],"
		"\"mountLabel\":\"m\",\"personality\":{\"domain\":\"LINUX32\",\"flags\":[]}");
	const struct oci_linux *config = &spec.linux_;

	(void)state;
	assert_true(config->namespaces[OCI_NS_TIME].set && config->namespaces[OCI_NS_PID].set);
	assert_null(config->namespaces[OCI_NS_PID].path);
	assert_false(config->namespaces[OCI_NS_MOUNT].set);
	assert_string_equal(config->namespaces[OCI_NS_NETWORK].path, "/run/netns/x");
	assert_int_equal(config->uid_mappings.items[0].host_id, 4294967290);
	assert_true(config->time_offset_monotonic.set && !config->time_offset_boottime.set);
	assert_true(config->time_offset_monotonic.secs == INT64_MIN);
	assert_int_equal(config->devices_count, 2);
	assert_int_equal(config->devices[0].type, 'c');
	assert_int_equal(config->devices[0].minor, 229);
	assert_true(config->devices[0].uid.set && !config->devices[0].gid.set);
	assert_int_equal(config->devices[1].type, 'p');
	assert_int_equal(config->net_devices_count, 2);
	assert_string_equal(config->net_devices[0].name, "net%d");
	assert_string_equal(config->net_devices[1].name, "eth1");
	assert_string_equal(config->cgroups_path, "/a/b");
	assert_true(config->intel_rdt.set && config->intel_rdt.enable_monitoring);
	assert_int_equal(config->intel_rdt.schemata.count, 2);
	assert_string_equal(config->memory_policy.flags.items[0], "MPOL_F_STATIC_NODES");
	assert_string_equal(config->sysctl.items[0].key, "net.ipv4.ip_forward");
	assert_string_equal(config->sysctl.items[0].value, "1");
	assert_string_equal(config->rootfs_propagation, "rslave");
	assert_string_equal(config->masked_paths.items[0], "/proc/kcore");
	assert_true(config->personality.set && config->personality.default_flags);
	oci_spec_free(&spec);
	spec = parse_good(LINUX, "\"intelRdt\":{\"schemata\":\"L3:0=f\"}");
	assert_int_equal(spec.linux_.intel_rdt.schemata.count, 1);
	assert_null(spec.linux_.intel_rdt.schemata.items[1]);
	oci_spec_free(&spec);
}

static void test_resources(void **state)
{
	struct oci_spec spec = parse_good(
		RESOURCES,
		"\"devices\":[{\"allow\":false},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":-1,\"access\":"
		"\"rm\"}],"
		"\"memory\":{\"limit\":9223372036854775807,\"swap\":-1,\"swappiness\":0,\"disableOOMKiller\":false},"
		"\"cpu\":{\"shares\":1024,\"quota\":-1,\"period\":100000,\"burst\":5,\"idle\":1,\"cpus\":\"0-1\","
		"\"mems\":\"\"},"
		"\"pids\":{\"limit\":-1},\"blockIO\":{\"weight\":10,\"weightDevice\":[{\"major\":8,\"minor\":0,"
		"\"weight\":500}],"
		"\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":18446744073709551615}],"
		"\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":16,\"rate\":300},{\"major\":8,\"minor\":32,"
		"\"rate\":1}]},"
		"\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":209715200}],\"network\":{\"classID\":1048577,"
		"\"priorities\":[{\"name\":\"eth0\",\"priority\":500}]},\"rdma\":{\"mlx5_1\":{\"hcaHandles\":3}},"
		"\"unified\":{\"memory.high\":\"1\",\"io.max\":\"259:0 rbps=1\\n253:0 rbps=2\"}");
	const struct oci_resources *resources = &spec.linux_.resources;

	(void)state;
	assert_int_equal(resources->devices_count, 2);
	assert_int_equal(resources->devices[0].type, 'a');
	assert_true(resources->devices[0].read && resources->devices[0].write && resources->devices[0].mknod);
	assert_false(resources->devices[0].major.set);
	assert_true(resources->devices[1].allow && resources->devices[1].read && !resources->devices[1].write);
	assert_int_equal(resources->devices[1].minor.value, -1);
	assert_true(resources->memory.limit.value == INT64_MAX);
	assert_int_equal(resources->memory.swap.value, -1);
	assert_true(resources->memory.swappiness.set && resources->memory.swappiness.value == 0);
	assert_true(resources->memory.disable_oom_killer.set && !resources->memory.disable_oom_killer.value);
	assert_false(resources->memory.use_hierarchy.set);
	assert_int_equal(resources->cpu.quota.value, -1);
	assert_string_equal(resources->cpu.cpus, "0-1");
	assert_null(resources->cpu.mems);
	assert_int_equal(resources->pids_limit.value, -1);
	assert_int_equal(resources->block_io.weight_device[0].weight.value, 500);
	assert_false(resources->block_io.weight_device[0].leaf_weight.set);
	assert_true(resources->block_io.read_bps.items[0].rate == UINT64_MAX);
	assert_int_equal(resources->block_io.write_iops.count, 2);
	assert_int_equal(resources->block_io.write_iops.items[1].minor, 32);
	assert_string_equal(resources->hugepage_limits.items[0].page_size, "2MB");
	assert_int_equal(resources->network.class_id.value, 1048577);
	assert_string_equal(resources->network.priorities.items[0].name, "eth0");
	assert_string_equal(resources->rdma.items[0].device, "mlx5_1");
	assert_int_equal(resources->rdma.items[0].hca_handles.value, 3);
	assert_int_equal(resources->unified.count, 2);
	assert_string_equal(resources->unified.items[1].value, "259:0 rbps=1\n253:0 rbps=2");
	oci_spec_free(&spec);
}

/* Two documents that say the same must find the same cached filter. */
static void test_seccomp(void **state)
{
	struct oci_spec one = parse_good(
		LINUX,
		"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"architectures\":["
		"\"SCMP_ARCH_X86_64\"],\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[{\"names\":[\"read\","
		"\"write\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":5,\"value\":18446744073709551615,"
		"\"op\":\"SCMP_CMP_MASKED_EQ\",\"valueTwo\":1}]}]}");
	struct oci_spec two = parse_good(
		LINUX,
		"\"seccomp\": { \"syscalls\" : [{\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"value\":"
		"18446744073709551615,\"valueTwo\":1,\"index\":5,\"op\":\"SCMP_CMP_MASKED_EQ\"}],\"names\":[\"read\","
		"\"writ\\u0065\"]}],\n\"defaultErrnoRet\":38,\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],"
		"\"listenerPath\":null,\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_64\"]}");
	const struct oci_seccomp *seccomp = &one.linux_.seccomp;

	(void)state;
	assert_true(seccomp->set);
	assert_int_equal(seccomp->default_errno_ret.value, 38);
	assert_string_equal(seccomp->syscalls[0].names.items[1], "write");
	assert_true(seccomp->syscalls[0].args[0].value == UINT64_MAX);
	assert_int_equal(seccomp->syscalls[0].args[0].value_two, 1);
	assert_string_equal(seccomp->canonical, two.linux_.seccomp.canonical);
	assert_true(str_starts(seccomp->canonical, "{\"architectures\":[\"SCMP_ARCH_X86_64\"],\"defaultAction\":"));
	oci_spec_free(&one);
	oci_spec_free(&two);
}

/* The profile that podman and buildah give to every container. */
static void test_real_profile(void **state)
{
	cleanup_free char *profile = NULL, *text = NULL;
	cleanup_str struct str fragment = STR_INIT;
	struct oci_spec spec;
	size_t size;

	(void)state;
	if (file_read(AT_FDCWD, "/usr/share/containers/seccomp.json", 1 << 20, &profile, &size, NULL) < 0)
		skip(); /* package golang-github-containers-common is not installed */
	/* The file is the engines' own form of the document: "archMap" and "includes" stay unread. */
	str_printf(&fragment, "\"seccomp\":%s", profile);
	spec = parse_good(LINUX, str_text(&fragment));
	assert_true(spec.linux_.seccomp.syscalls_count > 10);
	oci_spec_free(&spec);
}

static void test_parts(void **state)
{
	static const char process[] = "{\"cwd\":\"/\",\"args\":[\"id\"],\"user\":{\"uid\":1,\"gid\":2}}";
	static const char resources[] = "{\"memory\":{\"limit\":5}}", wrong[] = "{\"memory\":{\"limit\":true}}";
	struct arena arena = { .head = NULL };
	struct oci_resources parsed_resources;
	struct oci_process parsed_process;
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(oci_process_parse(process, sizeof(process) - 1, &arena, &parsed_process, &err), 0);
	assert_int_equal(parsed_process.user.gid, 2);
	assert_int_equal(oci_process_parse("{}", 2, &arena, &parsed_process, &err), -EINVAL);
	assert_string_equal(err.text, "cwd: Cwd property must not be empty");
	assert_int_equal(oci_resources_parse(resources, sizeof(resources) - 1, &arena, &parsed_resources, &err), 0);
	assert_int_equal(parsed_resources.memory.limit.value, 5);
	assert_int_equal(oci_resources_parse(wrong, sizeof(wrong) - 1, &arena, &parsed_resources, &err), -EINVAL);
	assert_string_equal(err.text, "memory.limit: expected an integer, got a boolean");
	arena_free(&arena);
}

/* What is written is read as the same, and written the same again. */
static void test_process_json(void **state)
{
	static const char process[] =
		"{\"terminal\":true,\"consoleSize\":{\"height\":24,\"width\":80},"
		"\"user\":{\"uid\":1,\"gid\":2,\"umask\":18,\"additionalGids\":[4294967294,7]},"
		"\"args\":[\"a\",\"\",\"q\\\"\\n\"],\"env\":[\"A=b\"],\"cwd\":\"/w\",\"noNewPrivileges\":true,"
		"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_KILL\"],\"ambient\":[\"CAP_KILL\"]},"
		"\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":0,\"hard\":18446744073709551615}],\"oomScoreAdj\":-5,"
		"\"selinuxLabel\":\"l\",\"scheduler\":{\"policy\":\"SCHED_BATCH\",\"nice\":3},"
		"\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":4},\"execCPUAffinity\":{\"final\":\"0-1\"}"
		"}";
	cleanup_free char *text = NULL, *again = NULL;
	struct arena arena = { .head = NULL };
	struct oci_process first, second;

	(void)state;
	assert_int_equal(oci_process_parse(process, sizeof(process) - 1, &arena, &first, NULL), 0);
	text = oci_process_json(&first);
	assert_non_null(text);
	assert_int_equal(oci_process_parse(text, strlen(text), &arena, &second, NULL), 0);
	again = oci_process_json(&second);
	assert_string_equal(text, again);
	assert_true(second.terminal && second.no_new_privileges && second.console_size.width == 80);
	assert_string_equal(second.args.items[2], "q\"\n");
	assert_string_equal(second.env.items[0], "A=b");
	assert_true(second.user.umask.value == 18 && second.user.additional_gids[0] == 4294967294U);
	assert_true(second.capabilities.bounding == ((1 << 0) | (1 << 5)) && second.capabilities.ambient == 1 << 5);
	assert_true(second.rlimits[0].hard == UINT64_MAX && second.oom_score_adj.value == -5);
	assert_string_equal(second.selinux_label, "l");
	assert_true(second.scheduler.nice == 3 && second.io_priority.priority == 4);
	assert_null(second.exec_cpu_affinity.initial);
	assert_string_equal(second.exec_cpu_affinity.final, "0-1");
	arena_free(&arena);
}

/* Every prefix of a document, and every byte of it changed: an error or a spec, never more. */
static void test_mutations(void **state)
{
	cleanup_free char *text = oci_spec_default_json(true);
	struct error err = ERROR_INIT;
	struct oci_spec spec;
	size_t size;

	(void)state;
	assert_non_null(text);
	size = strlen(text);
	for (size_t i = 0; i < size; i++) {
		static const char bytes[] = "\"{}[]:,-9\\\0\xff";
		char kept = text[i];

		assert_int_equal(oci_spec_parse(text, i, &spec, &err), -EINVAL);
		for (size_t j = 0; j < sizeof(bytes) - 1; j++) {
			text[i] = bytes[j];
			if (oci_spec_parse(text, size, &spec, &err) == 0)
				oci_spec_free(&spec);
		}
		text[i] = kept;
	}
	assert_int_equal(oci_spec_parse(text, size, &spec, &err), 0);
	oci_spec_free(&spec);
}

/* A place that is longer than a message keeps its innermost part. */
static void test_long_place(void **state)
{
	cleanup_str struct str fragment = STR_INIT;
	cleanup_free char *text = NULL;
	struct error err = ERROR_INIT;
	struct oci_spec spec;

	(void)state;
	str_append(&fragment, SPECV ",\"annotations\":{\"");
	for (int i = 0; i < 5000; i++)
		str_append(&fragment, "k");
	str_append(&fragment, "\":5}");
	text = document(TOP, str_text(&fragment));
	assert_int_equal(oci_spec_parse(text, strlen(text), &spec, &err), -EINVAL);
	assert_true(str_ends(err.text, "kkk: expected a string, got an integer"));
}

/* runc's own `spec` in an empty directory; NULL if there is no runc. */
static char *run_runc_spec(bool rootless)
{
	char dir[] = "/tmp/caisson-test-spec-XXXXXX", *content = NULL;
	cleanup_close int fd = -1;
	struct error err;
	int status = -1;
	size_t size;
	pid_t pid;

	assert_non_null(mkdtemp(dir));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		execlp("runc", "runc", "spec", "--bundle", dir, rootless ? "--rootless" : NULL, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		assert_int_equal(file_read(fd, "config.json", 1 << 20, &content, &size, &err), 0);
	assert_int_equal(file_remove_all(AT_FDCWD, dir, &err), 0);
	return content;
}

static void test_default_is_runcs(void **state)
{
	static const char runc_version[] = "\"ociVersion\": \"1.0.2-dev\"", our_version[] = "\"ociVersion\": \"1.2.0\"";

	(void)state;
	for (int rootless = 0; rootless < 2; rootless++) {
		cleanup_free char *ours = oci_spec_default_json(rootless), *theirs = run_runc_spec(rootless);
		char *version;

		if (!theirs)
			skip(); /* runc is not installed */
		version = strstr(theirs, runc_version);
		if (!version)
			skip(); /* another version of runc */
		assert_int_equal(strncmp(ours, "{\n\t\"ociVersion\": \"1.2.0\"", 24), 0);
		assert_string_equal(strstr(ours, our_version) + sizeof(our_version) - 1,
				    version + sizeof(runc_version) - 1);
	}
}

static void test_default_parses(void **state)
{
	(void)state;
	for (int rootless = 0; rootless < 2; rootless++) {
		cleanup_free char *text = oci_spec_default_json(rootless);
		struct error err = ERROR_INIT;
		struct oci_spec spec;

		assert_int_equal(oci_spec_parse(text, strlen(text), &spec, &err), 0);
		assert_int_equal(spec.mounts_count, 7);
		assert_int_equal(spec.linux_.namespaces[OCI_NS_USER].set, rootless);
		assert_int_equal(spec.linux_.uid_mappings.count, rootless);
		oci_spec_free(&spec);
	}
}

static size_t count_of(const struct json_value *object, const char *name)
{
	const struct json_value *member = json_find(object, name);

	assert_non_null(member);
	return member->count;
}

static void test_features(void **state)
{
	static const char *const options[] = { "bind", "ro", NULL };
	const struct oci_features features = { .mount_options = options,
					       .seccomp = true,
					       .memory_policy = true,
					       .libseccomp_version = "2.5.4",
					       .version = "0.0.1" };
	cleanup_free char *text = oci_features_json(&features);
	const struct json_value *root, *config, *seccomp;
	struct arena arena = { .head = NULL };

	(void)state;
	assert_non_null(text);
	assert_true(str_starts(
		text, "{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1.3.0\",\n    \"hooks\""));
	assert_true(str_ends(text, "}\n"));
	assert_int_equal(json_parse(text, strlen(text), &arena, &root, NULL), 0);
	assert_int_equal(count_of(root, "hooks"), 6);
	assert_int_equal(count_of(root, "mountOptions"), 2);
	config = json_find(root, "linux");
	assert_int_equal(count_of(config, "namespaces"), OCI_NS_COUNT);
	assert_int_equal(count_of(config, "capabilities"), (size_t)capability_count());
	seccomp = json_find(config, "seccomp");
	assert_int_equal(count_of(seccomp, "actions"), 9);
	assert_int_equal(count_of(seccomp, "operators"), 7);
	assert_true(json_find(seccomp, "enabled")->truth);
	assert_false(json_find(json_find(config, "apparmor"), "enabled")->truth);
	assert_true(json_find(json_find(json_find(config, "mountExtensions"), "idmap"), "enabled")->truth);
	assert_string_equal(
		json_find(json_find(root, "annotations"), "org.opencontainers.runc.checkpoint.enabled")->text, "false");
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_not_json),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_top),
		cmocka_unit_test(test_vm),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_linux),
		cmocka_unit_test(test_resources),
		cmocka_unit_test(test_seccomp),
		cmocka_unit_test(test_real_profile),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_process_json),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_long_place),
		cmocka_unit_test(test_default_is_runcs),
		cmocka_unit_test(test_default_parses),
		cmocka_unit_test(test_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
