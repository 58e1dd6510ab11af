#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# lab: v2 apart
#
# Disks of machines: real KVM, the distribution's kernel.  One machine has them all; in the order of this file.

# shellcheck disable=SC2154 # stderr: assigned by run
load machine

D=/scratch/disks

guest()
{
	caisson exec web sh -c "$1" <"$EMPTY"
}

# What a disk takes of the host's, in KiB.
taken()
{
	du -k "$1" | cut -f1
}

takes_less()
{
	[ "$(taken "$1")" -lt "$2" ]
}

setup_file()
{
	machine_store
	mkdir -p $D/small
	mount -t tmpfs -o size=4m small $D/small
	truncate -s 64M $D/raw $D/base $D/read $D/small/disk
	echo "from below" | dd of=$D/base conv=notrunc status=none
	qemu-img create -q -f qcow2 -F raw -b $D/base $D/top.qcow2
	qemu-img create -q -f qcow2 $D/new.qcow2 256M
	caisson run -d --name web --isolation pv --vcpus 2 --cap-add SYS_ADMIN --disk $D/raw \
		--disk $D/top.qcow2,backing=$D/base --disk $D/read,ro --disk $D/new.qcow2 --disk $D/small/disk \
		box:1 sh -c 'while :; do sleep 1; done'
}

teardown_file()
{
	caisson rm -f web
	umount $D/small
}

@test "--disk: files of the host are disks of the guest, in their order, with a queue for each vCPU" {
	local sys=/sys/block
	run guest "cd /dev; echo vd*; cd $sys; cat vd[b-f]/size | xargs; ls vdb/mq | wc -l; cat vdb/serial; echo; head -n 1 /dev/vdc"
	[ "${lines[0]}" = "vdb vdc vdd vde vdf" ]
	[ "${lines[1]}" = "131072 131072 131072 524288 131072" ]
	[ "${lines[*]:2}" = "2 disk1 from below" ]
}

@test "--disk: what was synced in the guest is in the host's files, and what lies below stays as it was" {
	guest 'for d in vdb vdc; do seq 1 10000 | dd of=/dev/$d bs=1M seek=2 conv=fsync; done'
	[ "$(dd if=$D/raw bs=1M skip=2 status=none | head -n 10000 | tail -n 1)" = 10000 ]
	qemu-img convert -U -O raw $D/top.qcow2 $D/both
	[ "$(dd if=$D/both bs=1M skip=2 status=none | head -n 10000 | tail -n 1)" = 10000 ]
	[ "$(head -n 1 $D/both)" = "from below" ]
	[ "$(tr -d '\0' <$D/base)" = "from below" ]
}

@test "--disk: discarded blocks are the host's again, of raw and qcow2 disks" {
	local disk file before
	guest 'for d in vdb vde; do dd if=/dev/urandom of=/dev/$d bs=1M count=10 conv=fsync; done'
	for disk in vdb:raw vde:new.qcow2; do
		file=$D/${disk#*:}
		before=$(taken "$file")
		[ "$before" -ge 10240 ]
		[ "$(guest "blkdiscard /dev/${disk%:*}; head -c 10485760 /dev/${disk%:*} | tr -d '\\0' | wc -c")" = 0 ]
		eventually takes_less "$file" $((before - 9000))
	done
}

@test "--disk: fstrim of a file system, after its files are gone" {
	local before
	mke2fs -q -F -t ext4 -E nodiscard $D/raw
	guest 'blockdev --flushbufs /dev/vdb; mkdir -p /m && mount /dev/vdb /m && dd if=/dev/zero of=/m/f bs=1M count=10 conv=fsync'
	before=$(taken $D/raw)
	guest 'rm /m/f && sync && fstrim /m && umount /m'
	[ "$(taken $D/raw)" -lt $((before - 9000)) ]
	e2fsck -fn $D/raw
}

@test "--disk: ,ro is read, and not written" {
	run ! guest 'head -c 512 /dev/vdd | wc -c; cat /sys/block/vdd/ro; echo x >/dev/vdd'
	[ "${lines[*]:0:2}" = "512 1" ]
}

@test "--disk: what one machine writes into is no other's, nor QEMU's" {
	run ! --separate-stderr caisson run --rm --isolation pv --disk $D/top.qcow2,backing=$D/base box:1 true
	[[ $stderr == *"top.qcow2 is in use"* ]]
	run ! --separate-stderr caisson run --rm --isolation pv --disk $D/read box:1 true
	[[ $stderr == *"read is in use"* ]]
	run ! qemu-img info $D/top.qcow2
	[[ $output == *lock* ]]
	qemu-img info $D/read
}

@test "--disk: a full disk of the host is an error of the guest's, who goes on once there is room" {
	run ! guest 'dd if=/dev/zero of=/dev/vdf bs=1M count=16 conv=fsync'
	[[ $output == *"error"* ]]
	mount -o remount,size=64m $D/small
	guest 'dd if=/dev/zero of=/dev/vdf bs=1M count=16 conv=fsync && echo there | dd of=/dev/vdf conv=fsync,notrunc'
	[ "$(head -n 1 $D/small/disk)" = there ]
}

@test "an fsync that the guest was told of survives a kill -9 of the monitor" {
	local out=$BATS_TEST_TMPDIR/out i last pid
	# Each number in a cluster of its own, which gets its place in the file by that.
	caisson exec web sh -c 'i=0; while :; do echo "number $i" | dd of=/dev/vde bs=65536 seek=$i conv=fsync,notrunc 2>/null;
		echo $i; i=$((i + 1)); done' >"$out" <"$EMPTY" 2>"$BATS_TEST_TMPDIR/err" &
	for ((i = 0; i < 600; i++)); do [ "$(wc -l <"$out")" -lt 12 ] || break; sleep 0.1; done
	pid=$(caisson inspect --format '{{.State.Pid}}' web)
	kill -KILL "$pid"
	[ "$(caisson wait web)" = 137 ]
	wait $! || true
	[ ! -e "/proc/$pid" ]
	last=$(tail -n 1 "$out")
	[ "$last" -ge 11 ]
	# Clusters that nobody refers to are all that may be left: 3 is qemu-img's word for that.
	qemu-img check -q $D/new.qcow2 || [ $? = 3 ]
	qemu-img convert -O raw $D/new.qcow2 $D/all
	for ((i = 0; i <= last; i++)); do
		[ "$(dd if=$D/all bs=65536 skip=$i count=1 status=none | tr -d '\0')" = "number $i" ]
	done
}

@test "vm: the same disks on an ATA controller" {
	seq 1 1000 | dd of=$D/base bs=512 conv=notrunc status=none
	qemu-img create -q -f qcow2 -F raw -b $D/base $D/top.qcow2
	run caisson run --rm --isolation vm --disk $D/top.qcow2,backing=$D/base --disk $D/raw box:1 sh -c \
		'cd /dev; echo sd*; head -n 1000 sdb | tail -n 1; seq 1 2000 >sdc; sync; head -n 2000 sdc | tail -n 1'
	[ "$output" = "sdb sdc"$'\n'"1000"$'\n'"2000" ]
	[ "$(head -n 2000 $D/raw | tail -n 1)" = 2000 ]
}

@test "images that are damaged, lie, or stand on what nobody named are refused with words" {
	refused() { # DISK WORDS
		run ! --separate-stderr caisson run --rm --isolation pv --disk "$1" box:1 true
		[[ $stderr == *"$2"* ]] || { echo "$stderr"; return 1; }
	}
	qemu-img create -q -f qcow2 -F raw -b /etc/passwd $D/lies.qcow2 1M
	refused $D/lies.qcow2 "/etc/passwd, which nobody has named"
	refused $D/raw,format=qcow2 "no qcow2 image"
	head -c 80 $D/top.qcow2 >$D/short.qcow2
	refused $D/short.qcow2 "qcow2"
	# Its table of clusters begins where no file is.
	qemu-img create -q -f qcow2 $D/far.qcow2 1M
	printf '\x7f' | dd of=$D/far.qcow2 bs=1 seek=40 conv=notrunc status=none
	refused $D/far.qcow2 "qcow2"
	[ -z "$(caisson ps -aq)" ] || [ "$(caisson ps -a --format '{{.Names}}')" = web ]
}
