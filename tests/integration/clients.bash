# SPDX-License-Identifier: Apache-2.0
#
# What podman.bats and containerd.bats share: a place of their own for the clients, and a small image.
#
# The clients run in mount and pid namespaces of their own, with an empty /run and /dev/shm and a /dev/null of their own
# under them. So they cannot meet another podman or containerd of the machine, a runtime that changes the owner of its
# standard files cannot touch the host's /dev/null, and ending process 1 of the pid namespace ends whatever a test left
# behind, however it failed. Cgroups are the host's: clients_stop removes those that the clients made.
#
# RUNTIME is the runtime under test (a path, or a command's name); build/bin/caisson-oci without it.

# shellcheck source=tests/eventually.bash
source "${BASH_SOURCE[0]%/*}/../eventually.bash"
# shellcheck source=tests/integration/terminal.bash
source "${BASH_SOURCE[0]%/*}/terminal.bash"

# clients_start: makes the directory (CLIENTS_DIR), the namespaces and the root file system. For setup_file.
clients_start()
{
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	[ -x /bin/busybox ] || skip "needs busybox-static"
	RUNTIME=$(command -v "${RUNTIME:-$BATS_TEST_DIRNAME/../../build/bin/caisson-oci}") || return 1
	RUNTIME=$(realpath "$RUNTIME")
	CLIENTS_DIR=$(mktemp -d /tmp/caisson-clients.XXXXXX)
	export RUNTIME CLIENTS_DIR

	# They go with bats, even when it is killed.
	mknod -m 666 "$CLIENTS_DIR/null" c 1 3
	setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
		catatonit -P <"$CLIENTS_DIR/null" >"$CLIENTS_DIR/pause.log" 2>&1 3>&- &
	CLIENTS_UNSHARE=$!
	export CLIENTS_UNSHARE
	disown
	eventually clients_found
	export CLIENTS_PID
	inside sh -c "mount -t tmpfs -o mode=755 tmpfs /run && mount -t tmpfs -o mode=1777 tmpfs /dev/shm &&
		mount --bind '$CLIENTS_DIR/null' /dev/null"
	clients_rootfs "$CLIENTS_DIR/rootfs"
}

clients_found()
{
	CLIENTS_PID=$(cat "/proc/$CLIENTS_UNSHARE/task/$CLIENTS_UNSHARE/children" 2>/dev/null)
	CLIENTS_PID=${CLIENTS_PID% }
	[ -n "$CLIENTS_PID" ] && [ "$(cat "/proc/$CLIENTS_PID/comm")" = catatonit ]
}

# clients_stop: ends every process of the clients, and removes their files and the given cgroups. For teardown_file.
clients_stop()
{
	local status=0 name
	[ -n "${CLIENTS_DIR:-}" ] || return 0
	kill -KILL "$CLIENTS_UNSHARE" 2>/dev/null
	while [ -e "/proc/${CLIENTS_PID:-none}" ]; do sleep 0.05; done
	for name in "$@"; do
		eventually clients_remove_cgroups "$name" || status=1
	done
	rm -rf --one-file-system "$CLIENTS_DIR" || status=1
	[ "$(stat -c '%u:%g %a' /dev/null)" = "0:0 666" ] || {
		echo "the host's /dev/null was changed" >&2
		status=1
	}
	return $status
}

# clients_remove_cgroups NAME: in every hierarchy, and in the plain folders that clients make in place of missing ones.
clients_remove_cgroups()
{
	local directory
	for directory in /sys/fs/cgroup/*/"$1"; do
		[ -d "$directory" ] && find "$directory" -depth -type d -exec rmdir {} \; 2>/dev/null
	done
	rmdir /sys/fs/cgroup/{hugetlb,net_cls,net_prio,perf_event} 2>/dev/null
	! compgen -G "/sys/fs/cgroup/*/$1"
}

# inside COMMAND...: runs it among the clients. bats' own descriptor 3 stays outside, or bats would wait for daemons.
inside()
{
	nsenter --target "$CLIENTS_PID" --mount --pid -- "$@" 3>&-
}

# clients_rootfs DIR: busybox, two users, and a file that cannot be executed.
clients_rootfs()
{
	local applet
	mkdir -p "$1"/{bin,dev,etc,proc,root,sys,tmp,data}
	chmod 1777 "$1/tmp"
	cp /bin/busybox "$1/bin/busybox"
	for applet in $(/bin/busybox --list); do
		[ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
	done
	printf '%s\n' root:x:0:0:root:/root:/bin/sh app:x:1000:1000:app:/tmp:/bin/sh >"$1/etc/passwd"
	printf '%s\n' root:x:0: app:x:1000: extra:x:2000:app >"$1/etc/group"
	echo 'not a program' >"$1/data/plain"
	echo 'from the image' >"$1/data/file"
	tar -C "$1" -cf "$CLIENTS_DIR/rootfs.tar" .
}

# clients_podman [CONFIGURATION]: makes the program CLIENTS_DIR/podman, which has a store of its own, and RUNTIME unless
# it is told --runtime.  CONFIGURATION is added to containers.conf.
clients_podman()
{
	cp "${BASH_SOURCE[0]%/*}/../containers.conf" "$CLIENTS_DIR/"
	printf '%s\n' "${1:-}" >>"$CLIENTS_DIR/containers.conf"
	cat >"$CLIENTS_DIR/podman" <<-EOF
		#!/bin/sh
		export CONTAINERS_CONF="$CLIENTS_DIR/containers.conf"
		exec podman --root "$CLIENTS_DIR/root" --runroot "$CLIENTS_DIR/runroot" --tmpdir "$CLIENTS_DIR/tmp" \
			--cgroup-manager cgroupfs --events-backend file --runtime "$RUNTIME" "\$@"
	EOF
	chmod +x "$CLIENTS_DIR/podman"
}

# inside_on_terminal COMMAND...: runs it inside, on a terminal of its own (terminal.bash); its output loses the terminal's
# carriage returns.  What the command TYPIST prints is typed.
inside_on_terminal()
{
	local line
	printf -v line '%q ' nsenter --target "$CLIENTS_PID" --mount --pid -- "$@"
	# shellcheck disable=SC2086 # one word, or none
	on_terminal "$line" ${TYPIST:-} | tr -d '\r'
	return "${PIPESTATUS[0]}"
}
