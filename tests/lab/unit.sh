#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lab: v1 v2 apart
#
# unit - the project's unit tests in the lab: those programs that ask the kernel for more than files and memory, on a
# kernel with all cgroup controllers; under v1 those that have to do with cgroups.  Prints TAP.
set -u
cgroups='bpf|cgroup|clone|runtime|shell'
kernel='capability|criu|idmap|image_layer|kvm|mount|netdevice|network|overlay|process|procfs|resctrl|seccomp|session|tty'
machines='confine|tun|virtio_net|vm_fs|vm_machine|vm_prepare'
n=0
for program in "$CAISSON_BUILD"/tests/unit/test_*; do
	[ -f "$program" ] && [ -x "$program" ] || continue
	name=${program##*/test_}
	[[ $name =~ ^($cgroups)$ || ($LAB_CGROUP = v2 && $name =~ ^($kernel|$machines)$) ]] || continue
	output=$(CMOCKA_MESSAGE_OUTPUT=TAP timeout 600 "$program" 2>&1)
	status=$?
	before=$n
	bad=0
	while IFS= read -r line; do
		case $line in
		'ok '* | 'not ok '*)
			n=$((n + 1))
			title=${line#*ok }
			title=${title#* }
			case $line in
			*'# SKIP'*) echo "ok $n - $name: ${title#'# SKIP '} # skip" ;;
			not*) echo "not ok $n - $name: ${title#- }" && bad=1 ;;
			*) echo "ok $n - $name: ${title#- }" ;;
			esac
			;;
		1..* | '# ok'* | '# not ok'*) ;;
		'#'*) echo "$line" ;;
		*) echo "# $line" ;;
		esac
	done <<<"$output"
	if [ "$n" = "$before" ] || { [ "$status" != 0 ] && [ "$bad" = 0 ]; }; then
		n=$((n + 1))
		if [ "$status" = 0 ]; then echo "ok $n - $name"; else echo "not ok $n - $name ended with status $status"; fi
	fi
done
echo "1..$n"
