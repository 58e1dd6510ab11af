#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # output, lines, status, stderr: assigned by bats' run
#
# caisson kernel ...: kernels of virtual machines as users bring them in, look at them, choose and remove them. The real
# one is the lab's (LAB_CACHE); what needs it is skipped where there is none.

bats_require_minimum_version 1.5.0
load caisson

setup_file()
{
	export CAISSON_BUILD=${CAISSON_BUILD:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build}
	[ "$(id -u)" = 0 ] || skip "needs root"
	: >"$BATS_FILE_TMPDIR/empty"
	export REAL=${LAB_CACHE:-/var/tmp/lab-cache}/kernel
}

setup()
{
	cd "$BATS_TEST_TMPDIR" || return
	export STORE=$BATS_TEST_TMPDIR/store
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || printf 'output: %s\n' "${output:-}" "${stderr:-}"
	rm -rf "$STORE"
}

real()
{
	[ -e "$REAL/.done" ] || skip "no kernel in ${REAL%/kernel}: tests/lab/lab prepare"
	VERSION=$(<"$REAL/.done")
}

# A kernel that says that it is version $2 and has nothing in it: a setup header as of Documentation/arch/x86/boot.rst.
make_bzimage() # FILE VERSION
{
	head -c 4096 /dev/zero >"$1"
	patch "$1" $((0x1f1)) '\x01'
	patch "$1" $((0x1fe)) '\x55\xaa'
	patch "$1" $((0x202)) 'HdrS\x0f\x02'
	patch "$1" $((0x20e)) '\x00\x01' # the version, at 0x300
	patch "$1" $((0x211)) '\x01'
	patch "$1" $((0x300)) "$2 (me@here) #1"
}

patch() # FILE OFFSET BYTES
{
	# shellcheck disable=SC2059 # escapes are meant to be read
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "a kernel that is a file is added under its version, listed, and the first is the default" {
	make_bzimage bzImage 6.1.0-test
	try kernel default
	[ "$status" = 1 ]
	[[ "$output" == *'no guest kernel: `caisson kernel fetch`'* ]]
	try kernel add bzImage
	[ "$status" = 0 ]
	[ "$output" = 6.1.0-test ]
	try kernel add --name second bzImage
	[ "$output" = second ]
	try kernel ls --format '{{.Name}} {{.Version}} {{.Default}} {{.Format}} {{.Source}}'
	[ "${lines[0]}" = "6.1.0-test 6.1.0-test true bzImage bzImage" ]
	[ "${lines[1]}" = "second 6.1.0-test false bzImage bzImage" ]
	[ "${#lines[@]}" = 2 ]
	try kernel ls
	[[ "${lines[0]}" == NAME*DEFAULT*FORMAT*SIZE*ADDED ]]
	try kernel ls -q
	[ "$output" = $'6.1.0-test\nsecond' ]
	[ "$(caisson kernel ls --format json | jq -r 'select(.Default == "true").Name')" = 6.1.0-test ]
}

@test "the default can be chosen, and goes to another one when it is removed" {
	make_bzimage bzImage 6.1.0-test
	caisson kernel add --name a bzImage
	caisson kernel add --name b bzImage
	caisson kernel add --name c --default bzImage
	[ "$(caisson kernel default)" = c ]
	caisson kernel default a
	[ "$(caisson kernel default)" = a ]
	try kernel rm a
	[ "$output" = a ]
	[ "$(caisson kernel default)" = c ]
	caisson kernel rm c b
	try kernel default
	[ "$status" = 1 ]
	[ -z "$(ls -A "$STORE/kernels")" ]
}

@test "what is no kernel is refused, and leaves nothing" {
	local wrong
	echo "no kernel" >text
	mkdir tree
	tar -cf archive.tar text
	for wrong in text tree archive.tar; do
		try kernel add "$wrong"
		[ "$status" = 1 ]
		[ -n "$output" ]
	done
	try kernel add nowhere
	[[ "$output" == *"cannot open nowhere: no such file or directory"* ]]
	make_bzimage bzImage 6.1.0-test
	try kernel add --name ../x bzImage
	[[ "$output" == *'is no name for a kernel'* ]]
	try kernel add --modules "$PWD/tree" bzImage
	[[ "$output" == *"no directory of a kernel's modules"* ]]
	[ -z "$(ls -A "$STORE/kernels")" ]
	caisson kernel add bzImage
	try kernel add bzImage
	[ "$status" = 1 ]
	[[ "$output" == *"there is a kernel 6.1.0-test already"* ]]
	try kernel rm nothing
	[[ "$output" == *"no such kernel: nothing; \`caisson kernel ls\`"* ]]
	try kernel default nothing
	[ "$status" = 1 ]
}

@test "a kernel cut short anywhere is refused or boots what is there, and leaves nothing unfinished" {
	real
	local size
	for size in 0 100 511 528 600 1024 19456 20480 1000000; do
		head -c $size "$REAL/boot/vmlinuz-$VERSION" >"cut"
		try kernel add --name short "cut"
		[ "$status" = 1 ] || caisson kernel rm short
		[ -z "$(find "$STORE/kernels" -mindepth 1 -name '.*')" ]
	done
}

@test "a directory with boot and lib/modules is added, unpacked and with modules" {
	real
	try kernel add "$REAL"
	[ "$status" = 0 ]
	[ "$output" = "$VERSION" ]
	[ "$(caisson kernel ls --format '{{.Format}}')" = vmlinux ]
	cmp "$STORE/kernels/default/bzImage" "$REAL/boot/vmlinuz-$VERSION"
	[ "$(head -c 4 "$STORE/kernels/default/vmlinux")" = $'\x7fELF' ]
	# To its end: the size is what the bzImage says, in the last four bytes of its payload.
	grep -qa "Linux version $VERSION" "$STORE/kernels/default/vmlinux"
	cpio -t --quiet <"$STORE/kernels/default/modules-pv" 2>cpio.log >listed || :
	grep -qx modules/virtio_blk.ko listed
	run ! grep -q libata listed
	cpio -t --quiet <"$STORE/kernels/default/modules-vm" 2>cpio.log >listed || :
	grep -qx modules/sd_mod.ko listed
}

# A package as dpkg-deb makes it, with one compressed module as Debian 13 has them.
@test "a Debian package is added; compressed modules are unpacked; nothing leads out of it" {
	real
	command -v dpkg-deb >/dev/null || skip "dpkg-deb is not installed"
	mkdir -p deb/DEBIAN deb/boot deb/usr/lib/modules
	printf 'Package: x\nVersion: 1\nArchitecture: amd64\nMaintainer: me\nDescription: x\n' >deb/DEBIAN/control
	cp "$REAL/boot/vmlinuz-$VERSION" deb/boot/
	mkdir -p "deb/usr/lib/modules/$VERSION"
	(cd "$REAL/lib/modules/$VERSION" && cp modules.order modules.builtin "$OLDPWD/deb/usr/lib/modules/$VERSION" &&
		find kernel -name '*virtio*' -o -name '*vsock*' -o -name '*failover*' -o -name 'fuse.ko' -o -name 'overlay.ko' -o -path '*scsi*' -name '*.ko' -o -path '*/ata/*.ko' |
		cpio -pdm --quiet "$OLDPWD/deb/usr/lib/modules/$VERSION")
	find deb -name 'virtio_blk.ko' -exec xz {} +
	find deb -name 'virtio_mmio.ko' -exec zstd -q --rm {} +
	dpkg-deb -Zxz -z1 -b deb x.deb >dpkg.log
	try kernel add --name packaged x.deb
	[ "$status" = 0 ]
	cpio -i --quiet --to-stdout modules/virtio_blk.ko <"$STORE/kernels/packaged/modules-pv" 2>cpio.log >blk.ko || :
	# All of it but the signature, with which most of them end.
	[ -s blk.ko ]
	cmp -n "$(stat -c %s blk.ko)" blk.ko "$(find "$REAL/lib/modules/$VERSION" -name virtio_blk.ko)"
	run ! grep -qa "Module signature appended" blk.ko

	# A link where a directory should be.
	rm -rf "deb/usr/lib/modules/$VERSION/kernel/drivers/virtio" evil
	mkdir evil
	(cd deb && ln -s "$BATS_TEST_TMPDIR/evil" "usr/lib/modules/$VERSION/kernel/drivers/virtio")
	dpkg-deb -Zxz -z1 -b deb y.deb >dpkg.log
	try kernel add --name evil y.deb
	[ -z "$(ls -A evil)" ]
	[ -z "$(find "$STORE/kernels" -mindepth 1 -maxdepth 1 -name '.*')" ]
}

# One that says that it is larger than what it has; nothing of it must be written first.
@test "a Debian package that would fill the disk is refused, and leaves nothing" {
	command -v ar >/dev/null || skip "ar is not installed"
	mkdir -p big/boot
	truncate -s 3G big/boot/vmlinuz-6.1.0-big
	tar -C big --sparse -cf data.tar ./boot
	echo 2.0 >debian-binary
	tar -cf control.tar -T /dev/null
	ar rc big.deb debian-binary control.tar data.tar
	try kernel add big.deb
	[ "$status" = 1 ]
	[[ "$output" == *"larger than 2 GiB"* ]]
	[ -z "$(ls -A "$STORE/kernels")" ]
}

# As one is that was built again.
@test "another kernel of the same name is refused, and the same one can become the default" {
	make_bzimage one 6.1.0-test
	cp one two
	patch two 4000 changed
	cp one longer
	printf more >>longer
	caisson kernel add one
	caisson kernel add --name first --default one
	local other
	for other in two longer; do
		try kernel add --default "$other"
		[ "$status" = 1 ]
		[[ "$output" == *"there is another kernel 6.1.0-test already; \`caisson kernel rm 6.1.0-test\`, or --name"* ]]
		try kernel add "$other"
		[ "$status" = 1 ]
		[[ "$output" == *"another kernel"* ]]
	done
	[ "$(caisson kernel default)" = first ]
	cmp one "$STORE/kernels/6.1.0-test/bzImage"
	try kernel add --default one
	[ "$status" = 0 ]
	[[ "$output" == *"6.1.0-test was there already"*6.1.0-test ]]
	[ "$(caisson kernel default)" = 6.1.0-test ]
}

@test "two who add the same at once leave one of it" {
	make_bzimage bzImage 6.1.0-test
	caisson kernel ls
	caisson kernel add bzImage >one 2>&1 &
	local first=$!
	caisson kernel add bzImage >two 2>&1 &
	# Not all: bats has a clock of its own running.
	wait "$first" || :
	wait "$!" || :
	[ "$(caisson kernel ls -q)" = 6.1.0-test ]
	[ "$(cat one two | grep -cx 6.1.0-test)" = 1 ]
}

@test "what a killed one has left is removed by the next" {
	make_bzimage bzImage 6.1.0-test
	caisson kernel add bzImage
	mkdir -p "$STORE/kernels/.new-1/kernel"
	caisson kernel add --name other bzImage
	[ ! -e "$STORE/kernels/.new-1" ]
	[ "$(caisson kernel ls -q)" = $'6.1.0-test\nother' ]
}

@test "fetch names what is missing where there is no apt" {
	mkdir bin
	run env PATH="$PWD/bin" "$CAISSON_BUILD/bin/caisson" --root "$STORE" kernel fetch
	[ "$status" = 1 ]
	[[ "$output" == *'there is no apt-cache here; bring a kernel with `caisson kernel add`'* ]]
	printf '#!/bin/sh\necho "E: no packages"; exit 100\n' >bin/apt-cache
	chmod +x bin/apt-cache
	run env PATH="$PWD/bin" "$CAISSON_BUILD/bin/caisson" --root "$STORE" kernel fetch
	[ "$status" = 1 ]
	[[ "$output" == *'`apt-get update` may help: E: no packages'* ]]
}

@test "fetch adds what apt downloads, under its version" {
	real
	mkdir bin tree
	# What apt-cache and apt-get of Debian 12 do, with a package that is made here.
	mkdir -p deb/DEBIAN "deb/lib/modules"
	printf 'Package: x\nVersion: 1\nArchitecture: amd64\nMaintainer: me\nDescription: x\n' >deb/DEBIAN/control
	cp -r "$REAL/boot" deb/
	cp -r "$REAL/lib/modules/$VERSION" deb/lib/modules/
	dpkg-deb -Znone -b deb package.deb >dpkg.log
	cat >bin/apt-cache <<-APT
		#!/bin/sh
		for last; do :; done
		echo "\$last"
		case \$last in linux-image-amd64 | linux-image-cloud-amd64) echo "  Depends: linux-image-$VERSION" ;; *) echo "  Depends: kmod" ;; esac
	APT
	cat >bin/apt-get <<-APT
		#!/bin/sh
		for last; do :; done
		[ "\$last" = "linux-image-$VERSION" ] && cp "$PWD/package.deb" "./\${last}_1_amd64.deb"
	APT
	chmod +x bin/*
	run env PATH="$PWD/bin:$PATH" "$CAISSON_BUILD/bin/caisson" --root "$STORE" kernel fetch
	[ "$status" = 0 ]
	[ "$output" = "$VERSION" ]
	[ "$(caisson kernel ls --format '{{.Source}}')" = "linux-image-$VERSION" ]
	run env PATH="$PWD/bin:$PATH" "$CAISSON_BUILD/bin/caisson" --root "$STORE" kernel fetch
	[ "$status" = 0 ]
	[[ "$output" == *"was there already"* ]]
	# another package that stands for one, and the one itself
	run env PATH="$PWD/bin:$PATH" "$CAISSON_BUILD/bin/caisson" --root "$STORE" kernel fetch --name other linux-image-amd64
	[ "$status" = 0 ]
	run env PATH="$PWD/bin:$PATH" "$CAISSON_BUILD/bin/caisson" --root "$STORE" kernel fetch --name itself "linux-image-$VERSION"
	[ "$status" = 0 ]
	[ -z "$(ls -A "$STORE/tmp")" ]
}

@test "what a killed fetch has downloaded is removed by the next" {
	mkdir bin
	printf '#!/bin/sh\necho "  Depends: linux-image-1"\n' >bin/apt-cache
	cat >bin/apt-get <<-APT
		#!/bin/sh
		pwd >"$PWD/where"
		echo part >part.deb
		[ -e "$PWD/again" ] && exit 1
		kill -9 \$PPID
	APT
	chmod +x bin/*
	run -137 env PATH="$PWD/bin:$PATH" "$CAISSON_BUILD/bin/caisson" --root "$STORE" kernel fetch
	cp where first
	: >again
	run -1 env PATH="$PWD/bin:$PATH" "$CAISSON_BUILD/bin/caisson" --root "$STORE" kernel fetch
	[ "$(<first)" != "$(<where)" ]
	[ ! -e "$(<first)" ]
	[ ! -e "$(<where)" ]
}

@test "names of kernels are offered to the shells" {
	make_bzimage bzImage 6.1.0-test
	caisson kernel add bzImage
	[ "$(caisson __complete kernel rm "" | cut -f 1)" = 6.1.0-test ]
	[ "$(caisson __complete kernel default 6 | cut -f 1)" = 6.1.0-test ]
}
