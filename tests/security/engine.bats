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

@test "the caller's umask does not narrow what instances are made of" {
	umask 077
	engine run --name masked -v masked:/data -v "$WORK/made:/made" -u 1000 busybox sh -c '
		umask; cat /etc/resolv.conf /etc/hosts >/dev/null && ls / /data /made >/dev/null && echo fine'
	run engine logs masked
	[ "$output" = $'0022\nfine' ]
	# But what holds an image is its owner's.
	umask 022
	engine save -o "$WORK/saved.tar" busybox
	[ "$(stat -c %a "$WORK/saved.tar")" = 600 ]
}

@test "the root of an instance is the image's own, until the instance changes it" {
	mkdir "$WORK/own"
	tar -xf "$WORK/busybox.tar" -C "$WORK/own"
	chown 7:8 "$WORK/own"
	chmod 1751 "$WORK/own"
	tar -cf "$WORK/own.tar" -C "$WORK/own" .
	engine import "$WORK/own.tar" own
	run engine run --name own own sh -c 'stat -c "%u:%g %a" /; chmod 711 /'
	[ "${lines[-1]}" = "7:8 1751" ]
	engine start -a own >"$WORK/again.log"
	[ "$(cat "$WORK/again.log")" = "7:8 711" ]
}

@test "what an instance or an image is called does not steer the terminal" {
	local steering=$'true\e[31m\e]0;title\a\x7f'
	engine run -d --name steer busybox sh -c 'sleep 1000; :' "$steering"
	engine import -c "LABEL a=b" -m "$steering" "$WORK/busybox.tar" steering
	for words in "ps -a --no-trunc" "top steer" "history --no-trunc steering"; do
		# shellcheck disable=SC2086 # words
		engine $words >"$WORK/shown"
		grep -q -F '?[31m?]0;title??' "$WORK/shown" || { echo "$words:"; cat -v "$WORK/shown"; false; }
		[ "$(tr -d '\n\t -~' <"$WORK/shown" | LC_ALL=C tr -d '\200-\377' | wc -c)" -eq 0 ]
	done
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

@test "CVE-2022-23648: an image's volume that leads out brings nothing of the host's in" {
	echo secret >"$WORK/secret"
	mkdir -p "$WORK/tree/bin"
	cp /bin/busybox "$WORK/tree/bin/busybox"
	ln -s "$WORK" "$WORK/tree/link"
	tar -C "$WORK/tree" -cf "$WORK/tree.tar" .
	local path
	for path in /link "/../../../../../../../../../$WORK" "/link/../../../$WORK"; do
		run engine image import -c "VOLUME [\"$path\"]" "$WORK/tree.tar" volumes:1
		[ "$status" -eq 0 ] || continue
		run engine run --rm --network none volumes:1 /bin/busybox find / -xdev -name secret
		[[ "$output" != *secret* ]]
	done
	[ -z "$(find "$STORE/volumes" -name secret)" ]
}

@test "CVE-2020-15257: no abstract socket of the engine's is in reach of who shares the host's network" {
	engine run -d --name neighbour busybox sleep 1000
	run engine run --rm --network host busybox cat /proc/net/unix
	[ "$status" -eq 0 ]
	[[ "$output" == Num* ]]
	run ! grep -E "@.*(caisson|$STORE)" <<<"$output"
}

@test "CVE-2022-36109, CVE-2023-25173: a user has its own group and those that the image gives it, and no others" {
	mkdir -p "$WORK/grouped/bin" "$WORK/grouped/etc"
	cp /bin/busybox "$WORK/grouped/bin/"
	echo 'app:x:1000:1000::/:/bin/sh' >"$WORK/grouped/etc/passwd"
	printf 'app:x:1000:\nextra:x:2000:app\nother:x:3000:\n' >"$WORK/grouped/etc/group"
	tar -C "$WORK/grouped" -cf "$WORK/grouped.tar" .
	engine image import "$WORK/grouped.tar" grouped:1
	run engine run --rm -u app grouped:1 /bin/busybox grep Groups: /proc/self/status
	[ "$(tr -s '\t ' ' ' <<<"$output" | sed 's/ $//')" = "Groups: 1000 2000" ]
	engine run -d --name grouped -u app grouped:1 /bin/busybox sleep 1000
	run engine exec grouped /bin/busybox grep Groups: /proc/self/status
	[ "$(tr -s '\t ' ' ' <<<"$output" | sed 's/ $//')" = "Groups: 1000 2000" ]
	run engine exec -u 5:6 grouped /bin/busybox grep Groups: /proc/self/status
	[ "$(tr -s '\t ' ' ' <<<"$output" | sed 's/ $//')" = "Groups: 6" ]
}

@test "CVE-2024-40635: a user beyond what a number can be is none, and never root" {
	local user
	for user in 4294967296 4294967295 -1 :1000 2147483648:4294967296 0x0 "1000:-1"; do
		run engine run --rm -u "$user" busybox id -u
		[ "$status" -eq 125 ] || [ "$output" != 0 ]
	done
}

@test "CVE-2024-9676: users of an image are looked up in the image's own files, which are files" {
	local kind
	for kind in fifo link; do
		rm -rf "$WORK/users"
		mkdir -p "$WORK/users/bin" "$WORK/users/etc"
		cp /bin/busybox "$WORK/users/bin/"
		if [ $kind = fifo ]; then mkfifo "$WORK/users/etc/passwd"; else ln -s /etc/passwd "$WORK/users/etc/passwd"; fi
		[ $kind = fifo ] || ln -sf "../../../../../../../../$WORK/host-passwd" "$WORK/users/etc/passwd"
		echo 'stranger:x:0:0::/:/bin/sh' >"$WORK/host-passwd"
		tar -C "$WORK/users" -cf "$WORK/users.tar" .
		engine image import "$WORK/users.tar" "users:$kind"
		run timeout 30 "$CAISSON" --root "$STORE" run --rm -u stranger "users:$kind" /bin/busybox id -u <"$WORK/nothing"
		[ "$status" -eq 125 ]
	done
}

@test "CVE-2023-25153: documents of an archive are bounded, whatever their size" {
	mkdir -p "$WORK/large"
	truncate -s 3G "$WORK/large/manifest.json"
	tar -C "$WORK/large" -cf - --sparse manifest.json >"$WORK/large.tar"
	(ulimit -v 1000000 && "$CAISSON" --root "$STORE" load -i "$WORK/large.tar" <"$WORK/nothing" >"$WORK/load.log" 2>&1) && false
	grep -q 'larger than\|sparse' "$WORK/load.log"
	head -c 50000000 /dev/zero >"$WORK/large/manifest.json"
	tar -C "$WORK/large" -cf "$WORK/large.tar" manifest.json
	run engine load -i "$WORK/large.tar"
	[ "$status" -eq 1 ]
	[[ "$output" == *"larger than"* ]]
}
