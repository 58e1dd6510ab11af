#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Ways out that container engines had: what an instance has made is used against the host, or the host's users use it.
# shellcheck disable=SC2154,SC2314,SC2315 # output: assigned by bats' run

bats_require_minimum_version 1.5.0

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	local top
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export CAISSON=${CAISSON_BUILD:-$top/build}/bin/caisson
	WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/caisson-security.XXXXXX")
	export WORK STORE=$WORK/store
	: >"$WORK/nothing"
	"$top/tools/make-default-image" "$WORK/busybox.tar"
	engine image import -c 'CMD ["/bin/sh"]' "$WORK/busybox.tar" busybox >"$WORK/import.log"
}

teardown_file() {
	[ -n "${WORK:-}" ] || return 0
	# shellcheck disable=SC2046 # one word per instance
	engine rm -f $(engine ps -aq) >"$WORK/rm.log" 2>&1
	rm -rf "$WORK"
}

engine() {
	"$CAISSON" --root "$STORE" "$@" <"$WORK/nothing"
}

@test "CVE-2021-41091: a set-user-ID program of an instance is not in the reach of the host's users" {
	local upper path
	chmod 711 "$WORK" # as /var/lib is
	engine run --name suid -v data:/data busybox sh -c 'umask 0; cp /bin/busybox /suid; cp /bin/busybox /data/suid;
		chmod 4755 /suid /data/suid'
	upper=$(engine inspect -f '{{.GraphDriver.Data.UpperDir}}' suid)
	for path in "$upper/suid" "$STORE/volumes/data/_data/suid"; do
		[ -u "$path" ]
		run setpriv --reuid 65534 --regid 65534 --clear-groups stat "$path"
		[ "$status" -ne 0 ]
	done
	run setpriv --reuid 65534 --regid 65534 --clear-groups ls "$STORE/blobs"
	[ "$status" -ne 0 ]
}

@test "a device node that an instance made is not opened for it by the engine" {
	# 60:0 has no driver: whoever opens it is told "No such device or address".
	engine run -d --name nodes busybox sleep 1000
	engine exec nodes sh -c 'rm -f /dev/null; mknod /dev/null c 60 0; mknod /etc/group c 60 0; mv /etc/passwd /etc/was
		mknod /etc/passwd c 60 0'
	run engine exec -u root nodes true
	[ "$status" -ne 0 ]
	[[ "$output" == *"not a regular file"* ]]
	run strace -f -o "$WORK/trace" "$CAISSON" --root "$STORE" exec -d nodes sleep 1 <"$WORK/nothing"
	[ "$status" -ne 0 ]
	[[ "$output" == *"/dev/null"* ]]
	run ! grep ENXIO "$WORK/trace"
}

@test "an instance that is deeper than there are descriptors can be removed" {
	local id
	id=$(engine run -d --name deep busybox sleep 1000)
	engine exec deep sh -c 'i=0; while [ $i -lt 1000 ]; do mkdir d && cd d || exit; i=$((i+1)); done'
	(ulimit -n 256 && engine rm -f deep)
	[ ! -e "$STORE/pending/$id" ]
	[ ! -e "$STORE/instances/$id" ]
}
