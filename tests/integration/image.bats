#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # output, lines, status, stderr: assigned by bats' run
#
# caisson image ...: what users bring in, look at, take out and remove; from and to podman, skopeo and umoci; and what
# hostile archives try.

bats_require_minimum_version 1.5.0
load caisson

setup_file()
{
	export CAISSON_BUILD=${CAISSON_BUILD:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build}
	store_make
	caisson save -o "$BATS_FILE_TMPDIR/saved.tar" busybox
	export ARCHIVES=$BATS_FILE_TMPDIR
	BUSYBOX_ID=$(caisson images -q --no-trunc busybox)
	export BUSYBOX_ID
}

teardown_file()
{
	# Where podman has no controller it makes plain folders, and its own cgroup in every hierarchy.
	find /sys/fs/cgroup -maxdepth 4 -depth -path '*/libpod_parent*' -type d -exec rmdir {} + 2>"$BATS_FILE_TMPDIR/rmdir" || :
	rmdir /sys/fs/cgroup/{hugetlb,net_cls,net_prio,perf_event} 2>>"$BATS_FILE_TMPDIR/rmdir" || :
	store_remove
}

# Every test has a store of its own, with busybox in it (linked, not copied, where that is possible).
setup()
{
	cd "$BATS_TEST_TMPDIR" || return
	export STORE=$BATS_TEST_TMPDIR/store
	caisson load -q -i "$ARCHIVES/saved.tar" <"$ARCHIVES/empty"
	mkdir tree
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || printf 'output: %s\n' "${output:-}" "${stderr:-}"
	# shellcheck disable=SC2046 # one word per instance
	caisson rm -f $(caisson ps -aq) >rm.log 2>&1
	rm -rf --one-file-system "$STORE"
}

# once ARGUMENTS...: runs a container, and removes it.
once()
{
	caisson run --rm --network none "$@" <"$ARCHIVES/empty"
}

# nothing_came: a refused archive left neither an image nor unfinished work.
nothing_came()
{
	[ "$(caisson images --format "{{.Repository}}:{{.Tag}}")" = busybox:latest ]
	[ -z "$(ls -A "$STORE/tmp")" ]
}

# refused WORDS COMMAND...: fails with 1 and says so on standard error, and nothing on standard output.
refused()
{
	local words=$1
	shift
	run --separate-stderr caisson "$@" <"${INPUT:-$ARCHIVES/empty}"
	[ "$status" = 1 ]
	[ -z "$output" ]
	[[ "$stderr" == "caisson: "*"$words"* ]]
	[ "${#stderr_lines[@]}" = 1 ]
}

# ---- bringing in ----

@test "a root file system is imported, plain, packed in four ways, and from a pipe" {
	local pack
	cp "$ARCHIVES/busybox.tar" plain
	gzip -k plain
	zstd -q plain
	xz -k0 plain
	bzip2 -k plain
	for pack in plain plain.gz plain.zst plain.xz plain.bz2; do
		run caisson import -c 'CMD ["echo", "from", "here"]' "$pack" "packed:$pack"
		[ "$status" = 0 ]
		[[ "$output" =~ ^sha256:[0-9a-f]{64}$ ]]
		[ "$(once "packed:$pack")" = "from here" ]
	done
	caisson import - piped:1 <plain.gz
	[ "$(once piped:1 echo piped)" = piped ]
	# whatever it came packed in, the content is one
	[ "$(caisson inspect --format '{{json .RootFS.Layers}}' packed:plain packed:plain.zst piped:1 | sort -u | wc -l)" = 1 ]
}

@test "import takes Dockerfile instructions, a message and a platform" {
	caisson import -m 'made by hand' -c 'ENV A=1 B="two words"' -c 'WORKDIR /tmp' -c 'USER nobody' -c 'LABEL who=me' \
		-c 'ENTRYPOINT ["sh", "-c"]' -c 'EXPOSE 80' -c 'STOPSIGNAL SIGINT' --platform linux/amd64 "$ARCHIVES/busybox.tar" made:1
	[ "$(once made:1 'echo $A $B $PWD $(id -un)')" = "1 two words /tmp nobody" ]
	run caisson image inspect -f '{{.Config.Labels.who}} {{json .Config.ExposedPorts}} {{.Architecture}} {{.Config.StopSignal}}' made:1
	[ "$output" = 'me {"80/tcp":{}} amd64 SIGINT' ]
	[[ "$(caisson history made:1)" == *"made by hand"* ]]
	caisson import - silent:1 <"$ARCHIVES/busybox.tar"
	[ "$(caisson image inspect -f '{{.Comment}}' silent:1)" = "Imported from -" ]
	refused 'FROM' import -c 'FROM scratch' "$ARCHIVES/busybox.tar" bad:1
	caisson import --platform linux/m68k "$ARCHIVES/busybox.tar" foreign:1
	run --separate-stderr caisson create foreign:1 true
	[ "$status" = 0 ]
	[[ "$stderr" == *"WARNING: the image is for linux/m68k"* ]]
	run --separate-stderr caisson create --platform linux/m68k foreign:1 true
	[ -z "$stderr" ]
	run caisson import --platform arm64 "$ARCHIVES/busybox.tar" bad:1
	[ "$status" = 125 ]
}

@test "an import without a name is dangling until it is tagged" {
	local id
	id=$(caisson import "$ARCHIVES/busybox.tar")
	run caisson images --filter dangling=true --format '{{.Repository}}:{{.Tag}}'
	[ "$output" = '<none>:<none>' ]
	caisson tag "${id:7:12}" found:1
	[ -z "$(caisson images -q --filter dangling=true)" ]
	[ "$(caisson images -q --no-trunc found:1)" = "$id" ]
}

@test "podman's archives are loaded: docker's format, OCI's, and OCI's as a directory" {
	local format
	podman_here
	podman import -c 'CMD ["echo", "from podman"]' "$ARCHIVES/busybox.tar" localhost/theirs:1
	for format in docker-archive oci-archive oci-dir; do
		podman save -q --format "$format" -o "$format" localhost/theirs:1
		run caisson load -i "$format"
		[ "$status" = 0 ]
		[ "$output" = "Loaded image: localhost/theirs:1" ]
		[ "$(once localhost/theirs:1)" = "from podman" ]
	done
	# An image is what its config says, however its layers were packed: there is one, and it has one name.
	[ "$(caisson images -q localhost/theirs)" = "$(podman images -q localhost/theirs)" ]
	[ "$(caisson images -q | wc -l)" = 2 ]
	caisson rmi "$(caisson images -q localhost/theirs)"
	nothing_came
}

@test "podman loads and runs what caisson saves, in both formats" {
	podman_here
	caisson save busybox >docker.tar
	run podman load -q -i docker.tar
	[[ "$output" == *"busybox:latest" ]]
	[ "$(podman run --rm --network none "${output##* }" echo hello)" = hello ]
	[ "$(podman inspect --format '{{.Id}}' "${output##* }")" = "${BUSYBOX_ID#sha256:}" ]
	caisson save --format oci-archive -o oci.tar busybox
	run podman load -q -i oci.tar
	[[ "$output" == *"docker.io/library/busybox:latest" ]]
	[ "$(podman run --rm --network none docker.io/library/busybox:latest echo hello)" = hello ]
}

@test "skopeo and umoci: a layered OCI layout with deletions, by its tag" {
	command -v skopeo umoci || skip "needs skopeo and umoci"
	caisson save --format oci-archive busybox | tar -x --one-top-level=layout
	skopeo copy -q oci:layout oci:two:v1
	umoci unpack --image two:v1 bundle >umoci.log
	rm -r bundle/rootfs/var bundle/rootfs/usr/bin/wget
	mkdir bundle/rootfs/var
	echo added >bundle/rootfs/added
	umoci repack --image two:v2 bundle >>umoci.log
	run caisson load -i two --name two:2
	[ "$status" = 1 ]
	[[ "$output" == *"2 images in it cannot all be named"* ]]
	umoci rm --image two:v1
	run caisson load -i two --name two:2
	[ "$output" = "Loaded image: two:2" ]
	[ "$(once two:2 sh -c 'cat /added; ls -A /var; ls /usr/bin/wget /var/log 2>&1 | wc -l')" = $'added\n2' ]
	# and back
	caisson save two:2 -o back.tar
	skopeo copy -q docker-archive:back.tar oci:back:1
	umoci unpack --image back:1 back-bundle >>umoci.log
	diff -r --no-dereference bundle/rootfs back-bundle/rootfs
}

@test "load reads a file, standard input, and all of it packed" {
	local pack
	cp "$ARCHIVES/saved.tar" saved
	gzip -k saved
	zstd -q saved
	for pack in saved saved.gz saved.zst; do
		caisson rmi busybox
		[ "$(caisson load <"$pack")" = "Loaded image: busybox:latest" ]
		[ "$(caisson load -i - <"$pack")" = "Loaded image: busybox:latest" ]
		[ "$(caisson load --input "$pack")" = "Loaded image: busybox:latest" ]
		[ "$(caisson image load "$pack")" = "Loaded image: busybox:latest" ]
	done
	[ -z "$(caisson load -q -i saved)" ]
	[ "$(caisson load -i saved --name other:3)" = "Loaded image: other:3" ]
	[ "$(caisson images -q --no-trunc | sort -u)" = "$BUSYBOX_ID" ]
}

@test "save writes a file, standard output, several images; the same ones give the same bytes" {
	caisson tag busybox busybox:2
	caisson save -o one.tar busybox:2 busybox
	caisson save busybox:2 busybox >two.tar
	cmp one.tar two.tar
	caisson rmi busybox busybox:2
	run caisson load -i one.tar
	[ "$output" = $'Loaded image: busybox:2\nLoaded image: busybox:latest' ]
	caisson save -o - busybox
	rm -- -
	caisson save -o /dev/stdout busybox | cmp - "$ARCHIVES/saved.tar"
}

@test "a save that fails leaves what was there" {
	echo precious >kept.tar
	refused 'No such image: nobody' save -o kept.tar busybox nobody
	[ "$(cat kept.tar)" = precious ]
	run ! compgen -G '*partial*'
	refused 'open /nonexistent/x' save -o /nonexistent/x busybox
	run caisson save --format zip busybox
	[ "$status" = 125 ]
	[[ "$output" == *"docker-archive or oci-archive"* ]]
}

# ---- looking ----

@test "ls shows what docker shows, in docker's words" {
	run caisson image ls
	[ "$status" = 0 ]
	[[ "${lines[0]}" =~ ^REPOSITORY\ +TAG\ +IMAGE\ ID\ +CREATED\ +SIZE$ ]]
	[[ "${lines[1]}" =~ ^busybox\ +latest\ +[0-9a-f]{12}\ +.*\ ago\ +[0-9.]+MB$ ]]
	[ "${#lines[@]}" = 2 ]
	# Time may have passed, and another age may be wider.
	ageless() { sed -E 's/ (Less than|About|[0-9]+) [a-z ]*ago//' | tr -s ' '; }
	[[ "$(ageless <<<"$output")" != *ago* ]]
	[ "$(caisson images | ageless)" = "$(ageless <<<"$output")" ]
	[ "$(caisson image list | ageless)" = "$(ageless <<<"$output")" ]
	run caisson images --digests
	[[ "${lines[0]}" =~ ^REPOSITORY\ +TAG\ +DIGEST\ +IMAGE\ ID ]]
	[[ "${lines[1]}" =~ \ sha256:[0-9a-f]{64}\  ]]
	[[ "$(caisson images --no-trunc)" == *" $BUSYBOX_ID "* ]]
	[ "$(caisson images -q)" = "${BUSYBOX_ID:7:12}" ]
	[ "$(caisson images -q --no-trunc)" = "$BUSYBOX_ID" ]
}

@test "ls formats: a template, a table of one, JSON by line" {
	[ "$(caisson images --format '{{.Repository}}:{{.Tag}}')" = busybox:latest ]
	[ "$(caisson images --format 'table {{.ID}}\t{{.Tag}}' | tr -s ' ')" = $'IMAGE ID TAG\n'"${BUSYBOX_ID:7:12} latest" ]
	run caisson images --format json
	[ "$(jq -r '.Repository + ":" + .Tag + " " + .ID' <<<"$output")" = "busybox:latest ${BUSYBOX_ID:7:12}" ]
	[[ "$(jq -r .Digest <<<"$output")" =~ ^sha256:[0-9a-f]{64}$ ]]
	refused 'no field "Bogus"' images --format '{{.Bogus}}'
	refused 'unclosed action' images --format '{{'
}

@test "ls finds by repository, tag, pattern, label and age" {
	sleep 1.1
	caisson import -c 'LABEL tier=back' "$ARCHIVES/busybox.tar" registry.example:5000/team/app:1
	caisson tag busybox team/app:2
	names() { caisson images --format '{{.Repository}}:{{.Tag}}' "$@" | sort; }
	[ "$(names busybox)" = busybox:latest ]
	[ "$(names busybox:latest)" = busybox:latest ]
	[ -z "$(names busybox:1)" ]
	[ -z "$(names busy)" ]
	[ "$(names 'busy*')" = busybox:latest ]
	[ "$(names --filter 'reference=*/app')" = team/app:2 ]
	[ "$(names --filter 'reference=*/*/app:1')" = registry.example:5000/team/app:1 ]
	[ "$(names --filter label=tier)" = registry.example:5000/team/app:1 ]
	[ "$(names --filter label=tier=back)" = registry.example:5000/team/app:1 ]
	[ -z "$(names --filter label=tier=front)" ]
	[ "$(names --filter since=busybox)" = registry.example:5000/team/app:1 ]
	[ "$(names --filter before=registry.example:5000/team/app:1)" = $'busybox:latest\nteam/app:2' ]
	refused "invalid filter 'colour=red'; known are" images --filter colour=red
	refused "expected true or false" images --filter dangling=perhaps
	refused "No such image: nobody" images --filter before=nobody
}

@test "an image is known by its name, its digest, its id, and the beginning of it" {
	local digest what
	digest=$(caisson images --format '{{.Digest}}')
	for what in busybox busybox:latest docker.io/library/busybox docker.io/library/busybox:latest "busybox@$digest" \
		"busybox:latest@$digest" "$BUSYBOX_ID" "${BUSYBOX_ID#sha256:}" "${BUSYBOX_ID:7:12}" "${BUSYBOX_ID:7:4}"; do
		[ "$(caisson image inspect -f '{{.Id}}' "$what")" = "$BUSYBOX_ID" ]
	done
	[ "$(once "${BUSYBOX_ID:7:12}" echo by id)" = "by id" ]
	for what in nobody busybox:9 "busybox@sha256:${BUSYBOX_ID:7}" ffffffffffff; do
		run --separate-stderr caisson image inspect "$what"
		[ "$status" = 1 ]
		[ "$output" = "[]" ]
		[[ "$stderr" == "caisson: No such image: $what"* ]]
	done
}

@test "inspect shows docker's object" {
	run caisson image inspect busybox
	[ "$(jq -r '.[0] | .Id, .RepoTags[0], .Os, .Config.Cmd[0], .RootFS.Type, .GraphDriver.Name' <<<"$output" | tr '\n' ' ')" = \
		"$BUSYBOX_ID busybox:latest linux /bin/sh layers overlay " ]
	[ "$(jq '.[0].Size' <<<"$output")" -gt 1000000 ]
	caisson tag busybox b:2
	[ "$(caisson image inspect busybox b:2 | jq -r '.[].RepoTags | sort | join(",")')" = $'b:2,busybox:latest\nb:2,busybox:latest' ]
	[ "$(caisson inspect --type image -f '{{.Os}}' busybox)" = linux ]
}

# ---- names, and removing ----

@test "tag gives a name, and takes it from another image" {
	local second
	caisson tag busybox mine:1
	caisson tag mine:1 registry.example:5000/mine:1
	[ "$(caisson images -q --no-trunc mine registry.example:5000/mine | sort -u)" = "$BUSYBOX_ID" ] ||
		[ "$(caisson images --format '{{.ID}}' | sort -u)" = "${BUSYBOX_ID:7:12}" ]
	second=$(caisson import -c 'ENV OTHER=1' "$ARCHIVES/busybox.tar" second:1)
	caisson tag second:1 mine:1
	[ "$(caisson images -q --no-trunc mine:1)" = "$second" ]
	refused 'No such image: nobody' tag nobody x
	refused 'must be lowercase' tag busybox Mine
	refused 'invalid reference format' tag busybox 'a b'
	refused 'digest reference' tag busybox "x@$BUSYBOX_ID"
}

@test "rm takes a name away, and with the last one the image" {
	caisson tag busybox two:1
	run caisson rmi two:1
	[ "$output" = "Untagged: two:1" ]
	run caisson image rm busybox
	[ "$output" = $'Untagged: busybox:latest\nDeleted: '"$BUSYBOX_ID" ]
	[ -z "$(caisson images -q)" ]
	[ -z "$(find "$STORE/blobs/sha256" "$STORE/snapshots" -mindepth 1)" ]
	refused 'No such image: busybox' rmi busybox
}

@test "rm by id wants force when there are several names, also of manifests of one image" {
	caisson tag busybox two:1
	refused "must be forced" rmi "${BUSYBOX_ID:7:12}"
	caisson save --format oci-archive -o oci.tar busybox
	command -v skopeo || skip "needs skopeo"
	skopeo copy -q --dest-compress oci-archive:oci.tar oci:packed:three
	caisson load -q -i packed --name three:1
	[ "$(caisson images -q | sort -u)" = "${BUSYBOX_ID:7:12}" ]
	caisson rmi two:1 busybox
	[ "$(caisson images --format '{{.Repository}}')" = three ]
	[ "$(once three:1 echo still there)" = "still there" ]
	caisson tag three:1 four:1
	caisson rmi -f "${BUSYBOX_ID:7:12}"
	[ -z "$(caisson images -q)" ]
}

@test "rm of an image that an instance stands on is refused, then forced, and the instance runs on" {
	caisson create --name user busybox echo alive >created
	refused 'is using it' rmi busybox
	refused 'is using it' rmi "${BUSYBOX_ID:7:12}"
	caisson rmi -f busybox
	[ -z "$(caisson images -q)" ]
	[ "$(caisson start -a user <"$ARCHIVES/empty")" = alive ]
	caisson rm user
	caisson image prune -f
	[ -z "$(ls "$STORE/snapshots")" ]
}

@test "several removals: one that fails does not keep the others" {
	caisson tag busybox two:1
	run --separate-stderr caisson rmi nobody two:1
	[ "$status" = 1 ]
	[ "$output" = "Untagged: two:1" ]
	[[ "$stderr" == *"No such image: nobody"* ]]
}

@test "prune removes what has no name, and with -a what nobody uses" {
	caisson import -c 'ENV X=1' "$ARCHIVES/busybox.tar" >dangling
	run caisson image prune
	[ "$status" = 1 ]
	[[ "$output" == *"-f"* ]]
	run caisson image prune -f
	[[ "$output" == "Deleted: $(cat dangling)"*"Total reclaimed space: "* ]]
	[ "$(caisson images -q --no-trunc)" = "$BUSYBOX_ID" ]
	caisson create --name user busybox >created
	caisson image prune -a -f
	[ "$(caisson images -q --no-trunc)" = "$BUSYBOX_ID" ]
	caisson rm user
	caisson image prune -a -f
	[ -z "$(caisson images -q)" ]
}

@test "system df tells what is in use, and what could be had back" {
	df_of() { caisson system df --format '{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}' | grep "^$1"; }
	[[ "$(df_of Images)" == "Images 1 0 "*" (100%)" ]]
	caisson create --name user -v data:/data busybox >created
	caisson tag busybox two:1
	caisson import -c 'ENV X=1' "$ARCHIVES/busybox.tar" shared:1 # the same layer
	[ "$(df_of Images)" = "Images 2 1 0B (0%)" ]
	[ "$(df_of Local)" = "Local Volumes 1 1 0B" ]
	[[ "$(df_of Containers)" == "Containers 1 0 "* ]]
	caisson rm user
	[[ "$(df_of Images)" == "Images 2 0 "*" (100%)" ]]
	[[ "$(df_of Local)" == "Local Volumes 1 0 "* ]]
}

# ---- what is wrong or hostile ----

@test "what is no archive is refused with what it is" {
	refused 'not a tar archive' load -i /etc/passwd
	refused 'not a tar archive' import /etc/passwd x:1
	refused 'use `image import`' load -i "$ARCHIVES/busybox.tar"
	refused 'the archive is empty' import "$ARCHIVES/empty" x:1
	refused 'the archive is empty' load -i "$ARCHIVES/empty"
	INPUT=$ARCHIVES/empty refused 'the archive is empty' load
	refused 'neither an OCI layout' load -i tree
	refused 'open nothing: no such file' load -i nothing
	refused 'open nothing: no such file' import nothing
	nothing_came
}

@test "a truncated archive is refused, whatever it is packed in" {
	local size
	size=$(stat -c %s "$ARCHIVES/saved.tar")
	head -c $((size / 2)) "$ARCHIVES/saved.tar" >half.tar
	refused 'runcated' load -i half.tar
	gzip -c "$ARCHIVES/saved.tar" | head -c 400000 >half.tar.gz
	refused 'runcated' load -i half.tar.gz
	zstd -qc "$ARCHIVES/saved.tar" | head -c 400000 >half.tar.zst
	refused '' load -i half.tar.zst
	head -c 1000000 "$ARCHIVES/busybox.tar" >half-root.tar
	refused 'runcated' import half-root.tar x:1
	INPUT=half.tar.gz refused 'runcated' load
	nothing_came
}

@test "a layer whose bytes are not what the image says is refused" {
	local layer blob
	tar -xf "$ARCHIVES/saved.tar" -C tree
	layer=$(jq -r '.[0].Layers[0]' tree/manifest.json)
	printf 'evil' | dd of="tree/$layer" bs=1 seek=100000 conv=notrunc status=none
	tar -C tree -cf bad.tar .
	caisson rmi busybox
	refused 'digest' load -i bad.tar
	caisson load -q -i "$ARCHIVES/saved.tar"
	rm -r tree && mkdir tree
	caisson save --format oci-archive busybox | tar -x -C tree
	caisson rmi busybox
	blob=$(find tree/blobs -size +1000k)
	printf 'evil' | dd of="$blob" bs=1 seek=100000 conv=notrunc status=none
	refused 'damaged' load -i tree
	[ -z "$(caisson images -q)" ]
	[ -z "$(find "$STORE/blobs/sha256" "$STORE/snapshots" -mindepth 1)" ]
}

@test "a bomb is refused before it fills the disk" {
	truncate -s 200T tree/hole || truncate -s 15T tree/hole
	tar -C tree -Scf bomb.tar hole
	[ "$(stat -c %s bomb.tar)" -lt 1000000 ]
	refused 'unpacks to more than' import bomb.tar bomb:1
	nothing_came
}

# What an archive may do with names: nothing outside of what is unpacked. `outside` is what it would like to reach.
@test "names with .. and from the root lead nowhere outside" {
	mkdir outside
	echo evil >tree/file
	tar -C tree -Pcf climb.tar --transform 's,file,../../../../../../../../../../../../../../../../'"$BATS_TEST_TMPDIR"'/outside/file,' file
	refused 'in its name' import climb.tar x:1
	tar -C tree -Pcf inner.tar --transform 's,file,a/../../../file,' file
	refused 'in its name' import inner.tar x:1
	# From the root is from the image's root, as in every tar.
	tar -C tree -Pcf root.tar --transform "s,file,$BATS_TEST_TMPDIR/outside/file," file
	caisson import root.tar rooted:1
	[ -z "$(ls -A outside)" ]
}

@test "files through symbolic links stay in the image" {
	mkdir outside
	ln -s "$BATS_TEST_TMPDIR/outside" tree/link
	tar -C tree -cf links.tar link
	rm tree/link
	mkdir tree/link
	echo evil >tree/link/file
	tar -C tree -rf links.tar link/file
	caisson import links.tar x:1 || :
	[ -z "$(ls -A outside)" ]
	# the directory itself, its mode, and a link that climbs
	rm -r tree/link
	ln -s "../../../../../../../../../../../../../../../../$BATS_TEST_TMPDIR/outside" tree/up
	tar -C tree -cf up.tar up
	rm tree/up
	mkdir -m 777 tree/up
	: >tree/up/file
	tar -C tree -rf up.tar up up/file
	caisson import up.tar y:1 || :
	[ -z "$(ls -A outside)" ]
	[ "$(stat -c %a outside)" = "$(stat -c %a tree)" ]
}

@test "hard links to what is outside are refused" {
	echo secret >secret
	echo a >tree/a
	ln tree/a tree/b
	tar -C tree -Pcf hard.tar --transform "flags=h;s,^a\$,../../../../../../../../../../../../../../../../$BATS_TEST_TMPDIR/secret," a b
	refused 'hard link' import hard.tar x:1
	[ "$(stat -c %h secret)" = 1 ]
	nothing_came
}

@test "a device of an image is no way to the host's" {
	mknod tree/mem c 1 1
	mknod -m 666 tree/disk b 8 0
	mkdir -p tree/bin
	cp /bin/busybox tree/bin/
	ln -s busybox tree/bin/cat
	tar -C tree -cf devices.tar .
	caisson import devices.tar devices:1
	run once devices:1 cat /mem
	[ "$status" -ne 0 ]
	[[ "$output" == *"not permitted"* || "$output" == *"ermission denied"* || "$output" == *"No such device"* ]]
	run once devices:1 cat /disk
	[ "$status" -ne 0 ]
}

@test "documents that lie are refused" {
	tar -xf "$ARCHIVES/saved.tar" -C tree
	caisson rmi busybox
	cp tree/manifest.json good.json
	jq '.[0].Layers = ["../../../../../../../../etc/passwd"]' good.json >tree/manifest.json
	tar -C tree -cf lie.tar .
	refused 'archive' load -i lie.tar
	jq '.[0].Config = "/etc/passwd"' good.json >tree/manifest.json
	tar -C tree -cf lie.tar .
	refused '' load -i lie.tar
	jq '.[0].RepoTags = ["../../x:1"]' good.json >tree/manifest.json
	tar -C tree -cf lie.tar .
	refused 'invalid reference format' load -i lie.tar
	jq '.[0].RepoTags = ["a:1\u001b[31m"]' good.json >tree/manifest.json
	tar -C tree -cf lie.tar .
	refused 'invalid reference format' load -i lie.tar
	[[ "$stderr" != *$'\033'* ]]
	echo '[' >tree/manifest.json
	tar -C tree -cf lie.tar .
	refused 'manifest.json' load -i lie.tar
	jq '.[0].Layers += .[0].Layers' good.json >tree/manifest.json
	tar -C tree -cf lie.tar .
	refused '' load -i lie.tar
	[ -z "$(caisson images -q)" ]
}

# ---- the terminal ----

@test "a line of progress is drawn on a terminal, and nowhere else" {
	run --separate-stderr caisson import "$ARCHIVES/busybox.tar" quiet:1
	[ -z "$stderr" ]
	# shellcheck disable=SC2016 # the inner shell's
	TERM=xterm script -qec '"$CAISSON_BUILD/bin/caisson" --root "$STORE" load -i "$ARCHIVES/saved.tar"' log <"$ARCHIVES/empty" >shown
	grep -q 'Loading \[=*\] [0-9.]*MB/[0-9.]*MB' shown
	grep -q 'Loaded image: busybox:latest' shown
	run ! grep -q $'\033' shown
	# shellcheck disable=SC2016
	TERM=dumb script -qec '"$CAISSON_BUILD/bin/caisson" --root "$STORE" load -i "$ARCHIVES/saved.tar"' log <"$ARCHIVES/empty" >shown
	run ! grep -q 'Loading' shown
	# shellcheck disable=SC2016
	TERM=xterm script -qec '"$CAISSON_BUILD/bin/caisson" --root "$STORE" load -q -i "$ARCHIVES/saved.tar"' log <"$ARCHIVES/empty" >shown
	[ -z "$(tr -d '\r\n' <shown)" ]
}

@test "archives are neither read from a terminal nor written to one" {
	# shellcheck disable=SC2016
	TERM=xterm script -qec '"$CAISSON_BUILD/bin/caisson" --root "$STORE" load; echo $?; "$CAISSON_BUILD/bin/caisson" --root "$STORE" import - x:1; echo $?
		"$CAISSON_BUILD/bin/caisson" --root "$STORE" save busybox; echo $?' log <"$ARCHIVES/empty" >shown
	[ "$(grep -c 'stdin is a terminal' shown)" = 2 ]
	grep -q 'refusing to save to a terminal' shown
	[ "$(tr -d '\r' <shown | grep -cx 1)" = 3 ]
}

# podman_here: a podman with a store of its own, on our runtime, for this test.
podman_here()
{
	command -v podman conmon >found || skip "needs podman and conmon"
	podman()
	{
		# With an empty /run and /dev/shm: it meets no other podman of the machine, and leaves nothing there.
		# shellcheck disable=SC2016 # the inner shell's
		CONTAINERS_CONF=$BATS_TEST_DIRNAME/../containers.conf unshare --mount --propagation private sh -c \
			'mount -t tmpfs -o mode=755 tmpfs /run && mount -t tmpfs tmpfs /dev/shm && exec podman "$@"' podman --root "$BATS_TEST_TMPDIR/root" \
			--runroot "$BATS_TEST_TMPDIR/runroot" --tmpdir "$BATS_TEST_TMPDIR/tmp" --storage-driver vfs \
			--cgroup-manager cgroupfs --events-backend file --runtime "$CAISSON_BUILD/bin/caisson-oci" "$@" \
			<"$ARCHIVES/empty" 3>&-
	}
}
