#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154,SC2016
# lab: v2
#
# Checkpoint and restore with Debian's CRIU, which knows the lab's kernel (and not every host's).

load helpers

setup_file() {
	lab_setup_file
}

setup() {
	B=$BATS_TEST_TMPDIR/b
	IMAGES=$BATS_TEST_TMPDIR/images
	COUNT=$ROOTFS/tmp/count$BATS_TEST_NUMBER
	ID=box$BATS_TEST_NUMBER
	mkdir "$B"
	(cd "$B" && caisson-oci spec)
	jq --arg count "/tmp/${COUNT##*/}" ".process.terminal = false | .root = {path: \"$ROOTFS\"}"' | .process.args =
		["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >\($count); sleep 0.1; done"]' "$B/config.json" >"$B/new"
	mv "$B/new" "$B/config.json"
}

teardown() {
	caisson-oci delete --force "$ID" >"$BATS_TEST_TMPDIR/delete" 2>&1 || true
	kill "$(cat "$BATS_TEST_TMPDIR/feeder")"
}

# Its stdio are pipes: files and devices of the host are nothing that CRIU can find again from inside.
piped() { # caisson-oci's ARGUMENTS
	sh -c 'echo $$ >"$0"; exec sleep 1000' "$BATS_TEST_TMPDIR/feeder" 3>&- | caisson-oci "$@" 2>&1 3>&- |
		cat >"$BATS_TEST_TMPDIR/out" 3>&- &
}

is() {
	[ "$(caisson-oci state "$ID" | jq -r .status)" = "$1" ]
}

counts_beyond() {
	[ -s "$COUNT" ] && [ "$(<"$COUNT")" -gt "$1" ]
}

@test "checkpoint ends the container, restore goes on where it was" {
	piped run --detach --bundle "$B" "$ID"
	eventually counts_beyond 3
	caisson-oci checkpoint --image-path "$IMAGES" "$ID"
	run -1 caisson-oci state "$ID"
	last=$(<"$COUNT")
	[ "$last" -ge 3 ]
	kill "$(cat "$BATS_TEST_TMPDIR/feeder")"
	echo 0 >"$COUNT" # what it goes on with is what was in its memory
	piped restore --detach --bundle "$B" --image-path "$IMAGES" "$ID"
	eventually is running
	eventually counts_beyond "$last"
	[ "$(<"$COUNT")" -lt $((last + 1000)) ]
	run -0 caisson-oci exec "$ID" true
	caisson-oci kill "$ID" KILL
	eventually is stopped
}

@test "checkpoint --leave-running does" {
	piped run --detach --bundle "$B" "$ID"
	eventually counts_beyond 1
	caisson-oci checkpoint --leave-running --image-path "$IMAGES" "$ID"
	is running
	eventually counts_beyond "$(<"$COUNT")"
}

@test "a checkpoint that fails leaves the container running" {
	piped run --detach --bundle "$B" "$ID"
	eventually counts_beyond 1
	: >"$BATS_TEST_TMPDIR/file"
	run -1 caisson-oci checkpoint --image-path "$BATS_TEST_TMPDIR/file/images" "$ID"
	is running
}
