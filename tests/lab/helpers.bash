# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the bats files of this folder share: a root file system of busybox, bundles, and a user without privileges.

bats_require_minimum_version 1.5.0
# shellcheck source=tests/eventually.bash
source "${BASH_SOURCE[0]%/*}/../eventually.bash"

# Once in each file: $ROOTFS, and $EMPTY for standard input.
lab_setup_file() {
	local applet
	export ROOTFS=$BATS_FILE_TMPDIR/rootfs EMPTY=$BATS_FILE_TMPDIR/empty
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR"
	mkdir -p "$ROOTFS"/{bin,dev,etc,proc,sys,tmp}
	cp /bin/busybox "$ROOTFS/bin/"
	for applet in sh cat dd echo id ls mkdir mknod mount ps rm sleep stat true umount; do
		ln -s busybox "$ROOTFS/bin/$applet"
	done
	: >"$EMPTY"
}

# A command of the user, with an empty standard input.
user() {
	"$BATS_TEST_DIRNAME/as-user" "$@" <"$EMPTY"
}
