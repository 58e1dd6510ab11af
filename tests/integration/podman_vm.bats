#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# podman runs its containers in virtual machines: by the runtime's name, or by an annotation.

bats_require_minimum_version 1.5.0
load clients
load machine

setup_file()
{
	command -v podman conmon >"$BATS_FILE_TMPDIR/found" || skip "needs podman and conmon"
	machine_kernel
	clients_start
	clients_podman "[network]"$'\n''network_backend = "cni"'$'\n'"network_config_dir = \"$CLIENTS_DIR/networks\""
	mkdir -p "$CLIENTS_DIR/networks"
	cat >"$CLIENTS_DIR/networks/wire.conflist" <<-EOF
		{"cniVersion": "0.4.0", "name": "wire", "plugins": [{"type": "bridge", "bridge": "wire0", "isGateway": true,
		"ipam": {"type": "host-local", "dataDir": "$CLIENTS_DIR/leases", "routes": [{"dst": "0.0.0.0/0"}],
		"ranges": [[{"subnet": "10.88.0.0/24", "gateway": "10.88.0.1"}]]}}]}
	EOF
	podman caisson-oci import "$CLIENTS_DIR/rootfs.tar" box:1
}

teardown_file()
{
	[ -n "${CLIENTS_DIR:-}" ] || return 0
	clients_stop libpod_parent
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || printf 'output: %s\n' "${output:-}"
	eventually podman caisson-oci rm --all --force --time 0
}

# podman NAME ARGUMENTS...: with the runtime by the name under which it is called; RUNTIME has no links in it.
podman()
{
	inside "$CLIENTS_DIR/podman" --runtime "${RUNTIME%/*}/$1" "${@:2}"
}

@test "caisson-oci-pv runs a container in a machine" {
	run -7 podman caisson-oci-pv run --rm --network none --annotation org.caisson.vm.kernel="$MACHINE_KERNEL" \
		--memory 256m --env A=b box:1 sh -c 'uname -r; echo $A; exit 7'
	[ "${lines[0]}" = "${MACHINE_KERNEL##*/vmlinuz-}" ]
	[ "${lines[1]}" = b ]
}

@test "an annotation does the same; exec, logs, stop" {
	podman caisson-oci run -d --name machine --network none --annotation org.caisson.vm.kernel="$MACHINE_KERNEL" \
		--annotation run.oci.handler=vm --annotation org.caisson.vm.memory=256m box:1 \
		sh -c 'trap "exit 9" TERM; uname -r; while :; do sleep 0.1; done'
	run -3 podman caisson-oci exec machine sh -c 'uname -r; exit 3'
	[ "${lines[0]}" = "${MACHINE_KERNEL##*/vmlinuz-}" ]
	logged() { [ "$(podman caisson-oci logs machine)" = "${MACHINE_KERNEL##*/vmlinuz-}" ]; }
	eventually logged
	podman caisson-oci stop -t 20 machine
	[ "$(podman caisson-oci inspect -f '{{.State.ExitCode}}' machine)" = 9 ]
}

# On a bridge of podman's, in a network namespace of the test's own; RUNTIME_NAME, then options of podman run.
on_bridge()
{
	local i
	podman() { "$CLIENTS_DIR/podman" --runtime "${RUNTIME%/*}/$1" "${@:2}"; }
	mkdir -p "$CLIENTS_DIR/www"
	ip link set lo up
	head -c 300000 /dev/urandom >"$CLIENTS_DIR/www/big"
	podman "$1" run -d --name wired --network wire --memory 256m \
		--annotation org.caisson.vm.kernel="$MACHINE_KERNEL" "${@:2}" box:1 \
		sh -c 'mkdir /www; ip -4 addr show eth0; ip route; wget -q -O /www/big http://10.88.0.1:8080/big; httpd -f -h /www' || return 1
	busybox httpd -p 10.88.0.1:8080 -h "$CLIENTS_DIR/www"
	for ((i = 0; i < 300; i++)); do
		busybox wget -q -O "$CLIENTS_DIR/back" http://10.88.0.2/big 2>"$CLIENTS_DIR/wget" && break
		sleep 0.2
	done
	busybox ping -c 3 -W 5 10.88.0.2
	podman "$1" logs wired
	cmp "$CLIENTS_DIR/www/big" "$CLIENTS_DIR/back" && echo "the same came back"
	podman "$1" rm --force --time 0 wired
	echo "left: $(ip -o link | grep -c -v -e ' lo:' -e ' wire0:')" # the card's two ends are gone with it
}

@test "a machine has the network that podman gives it" {
	command -v ip >"$BATS_TEST_TMPDIR/found" || skip "needs iproute2"
	export -f on_bridge
	run -0 inside unshare --net bash -c 'on_bridge "$@"' on_bridge caisson-oci-pv
	[[ $output == *"inet 10.88.0.2/24 scope global eth0"*"default via 10.88.0.1 dev eth0"* ]]
	[[ $output == *"3 packets received"* ]]
	[[ $output == *"the same came back"* ]]
	[[ $output == *"left: 0"* ]]
}
