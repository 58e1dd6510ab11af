# SPDX-License-Identifier: Apache-2.0
# What the tests of caisson-oci's commands share. RUNTIME can be another OCI runtime of runc's family.
# Containers live below a --root of their own and are deleted after each test. Standard input is an empty file, not the
# host's null device: a runtime with a bug could give that to a container's user.
# shellcheck disable=SC2154

bats_require_minimum_version 1.5.0
# shellcheck source=tests/eventually.bash
source "${BASH_SOURCE[0]%/*}/../eventually.bash"

# Once in each file: a busybox root file system and a runtime to test.
oci_setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	local top applet
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	RUNTIME=$(realpath "$(command -v "${RUNTIME:-${BUILD:-$top/build}/bin/caisson-oci}")") || return
	WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/caisson-oci.XXXXXX")
	export RUNTIME WORK STATE=$WORK/state
	: >"$WORK/nothing"
	mkdir -p "$WORK/rootfs"/{bin,dev,etc,proc,sys,tmp,root}
	cp /bin/busybox "$WORK/rootfs/bin/busybox"
	for applet in sh cat cp dd echo env false hostname id kill ls mkdir ps pwd readlink sleep stat stty true trap tty; do
		ln -s busybox "$WORK/rootfs/bin/$applet"
	done
	printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' >"$WORK/rootfs/etc/passwd"
}

oci_teardown_file() {
	[ -z "${WORK:-}" ] || rm -rf "$WORK"
}

# Before each test: a bundle that does not ask for a terminal, and ids nobody else has.
oci_setup() {
	BUNDLE=$(mktemp -d "$WORK/bundle.XXXXXX")
	export ID=test-${BUNDLE##*.}
	(cd "$BUNDLE" && oci spec)
	config ".process.terminal=false | .root.path=\"$WORK/rootfs\" | .process.args=[\"sleep\", \"1000\"]"
	cd "$BUNDLE" || return
}

oci_teardown() {
	local id
	for id in $(oci list -q); do
		oci delete --force "$id" || true
	done
}

# The runtime, with its state kept apart. For what detaches, output goes to files: whoever reads a pipe would wait for
# the container.
oci() {
	"$RUNTIME" --root "$STATE" "$@" <"${INPUT:-$WORK/nothing}"
}

# Starts container $1 in the background with the bundle's configuration.
oci_start() {
	oci run --detach "$1" >"$BUNDLE/output" 2>&1 || {
		cat "$BUNDLE/output"
		return 1
	}
}

config() {
	jq "$@" "$BUNDLE/config.json" >"$BUNDLE/config.new" && mv "$BUNDLE/config.new" "$BUNDLE/config.json"
}

args() {
	# Not --args: jq 1.6 takes those with a dash for its own.
	config --argjson args "$(printf '%s\n' "$@" | jq -Rs 'split("\n")[:-1]')" '.process.args=$args'
}

status_of() {
	oci state "$1" | jq -r .status
}

is() {
	[ "$(status_of "$1")" = "$2" ]
}

# A process that has ended, whether or not somebody has asked for its status yet.
gone() {
	! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null
}
