# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # output, lines, status: assigned by bats' run
#
# Shell completion: what the programs answer, and what bash, zsh and fish make of it.

bats_require_minimum_version 1.5.0

load caisson

setup_file()
{
	export CAISSON_BUILD=${CAISSON_BUILD:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build}
	store_make
	caisson run -d --name web --network none busybox sleep 1000 <"$BATS_FILE_TMPDIR/empty" >"$BATS_FILE_TMPDIR/web"
	caisson create --name old busybox >"$BATS_FILE_TMPDIR/old"
	caisson volume create data >"$BATS_FILE_TMPDIR/volume"
}

teardown_file()
{
	store_remove
}

setup()
{
	cd "$BATS_TEST_TMPDIR" || return
	mkdir bundle
	: >image.tar
}

# offers WORD...: the candidates for the last word, without what is told about them.
offers()
{
	caisson __complete "$@" | cut -f1
}

# in_bash LINE: what a real bash puts on the line for its last word, one candidate a line.  It splits the line as readline
# does: at blanks, and at the characters of COMP_WORDBREAKS, which are words of their own.
in_bash()
{
	env -i PATH="$CAISSON_BUILD/bin:$PATH" HOME="$BATS_TEST_TMPDIR" SPLIT="${SPLIT-:=@}" bash --norc --noprofile -c '
		source <(caisson completion bash)
		source <(caisson-oci completion bash)
		COMP_WORDBREAKS=$" \t\n\"'\''><;|&("$SPLIT
		COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=()
		split=$1
		while [[ $split ]]; do
			split=${split#"${split%%[! ]*}"}
			piece=${split%%[ ${SPLIT:-" "}]*}
			[[ $piece || ! $split ]] || { piece=${split%%[^$SPLIT]*}; }
			COMP_WORDS+=("$piece")
			split=${split#"$piece"}
			[[ $split != " " ]] || { COMP_WORDS+=(""); break; }
		done
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		[[ $(complete -p "${COMP_WORDS[0]##*/}") =~ -F\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" "${COMP_WORDS[0]}"
		printf "%s\n" "${COMPREPLY[@]}"
	' bash "$1"
}

@test "commands and their groups are offered, hidden ones are not" {
	run offers ""
	[[ $'\n'"$output"$'\n' == *$'\nrun\n'* && $'\n'"$output"$'\n' == *$'\nimage\n'* ]]
	[[ "$output" != *settle* && "$output" != *__complete* ]]
	run offers image ""
	[[ $'\n'"$output"$'\n' == *$'\nload\n'* && "$output" != *attach* ]]
	run offers help im
	[ "$output" = $'image\nimages\nimport' ]
}

@test "each command offers exactly the flags of its --help" {
	local path wrong=0
	while read -r path; do
		# shellcheck disable=SC2086 # a path is words
		caisson $path --help | sed -nE 's/^  (-[A-Za-z], |    )(--[a-z-]+).*/\2/p' | sort >helped
		# shellcheck disable=SC2086
		offers $path -- 2>&1 | grep -vx -e --help | sort >offered || :
		diff helped offered || { echo "of caisson $path"; wrong=1; }
	done < <(caisson help --machine | awk -F '\t' '$1 == "command" { sub(/^caisson /, "", $2); print $2 }' | grep -v '^\(container\|help\|image\|kernel\|system\|volume\)$')
	[ "$wrong" = 0 ]
}

@test "instances are offered by name, and by id once one is begun" {
	[ "$(offers exec "")" = web ]
	[ "$(offers stop "")" = web ]
	[ "$(offers start "")" = old ]
	[ "$(offers rm "" | sort)" = $'old\nweb' ]
	local id
	id=$(head -c 12 "$BATS_FILE_TMPDIR/web")
	[[ "$(offers logs "${id:0:4}")" == *"$id"* ]]
	caisson pause web
	[ "$(offers unpause "")" = web ]
	caisson unpause web
}

@test "images and volumes are offered where they are wanted" {
	[ "$(offers run --rm -it "")" = busybox:latest ]
	[ "$(offers run --network none bus)" = busybox:latest ]
	[ "$(offers rmi busy)" = busybox:latest ]
	[ "$(offers tag busybox:latest "")" = busybox:latest ]
	[ "$(offers volume rm "")" = data ]
	[[ "$(offers run -v "")" == *data* ]]
	[ -z "$(offers rename web "")" ]
}

@test "the values of flags are offered" {
	[ "$(offers run --network "")" = $'none\nhost\ncontainer:' ]
	[ "$(offers run --network=ho)" = --network=host ]
	[ "$(offers run --network container: | sort)" = $'container:old\ncontainer:web' ]
	[ "$(offers run --pid=container:)" = --pid=container:web ]
	[ "$(offers run --isolation "")" = $'container\npv\nvm\nauto' ]
	[ "$(offers ps --format "")" = $'json\ntable' ]
	[ "$(offers ps --filter status=r)" = $'status=restarting\nstatus=running' ]
	[ "$(offers save --format "")" = $'docker-archive\noci-archive' ]
	[ "$(offers kill -s HU)" = HUP ]
	[ "$(offers run --cap-add NET_A)" = NET_ADMIN ]
	[ "$(offers run -itw "")" = "" ]
	[ "$(offers completion "")" = $'bash\nzsh\nfish' ]
}

@test "after the image comes the command inside, which is not ours" {
	[ "$(offers run busybox --)" = ":file 0" ]
	[ "$(offers run -- busybox "")" = ":file 0" ]
	[ "$(offers run -- "")" = busybox:latest ]
}

@test "--root says whose instances are meant" {
	run "$CAISSON_BUILD/bin/caisson" __complete --root "$BATS_TEST_TMPDIR/other" rm ""
	[ -z "$output" ]
	[ ! -e "$BATS_TEST_TMPDIR/other" ]
	run "$CAISSON_BUILD/bin/caisson" __complete "--root=$STORE" start ""
	[[ "$output" == old* ]]
}

@test "a word that is nobody's is answered with nothing, and no error" {
	run caisson __complete bogus ""
	[ "$status" = 0 ]
	[ -z "$output" ]
	run caisson __complete run --bogus=x --
	[ "$status" = 0 ]
	run caisson __complete
	[ "$status" = 0 ]
}

@test "caisson-oci offers its commands, flags, values, containers and signals" {
	oci() { "$CAISSON_BUILD/bin/caisson-oci" __complete --root "$STORE/run" "$@" | cut -f1; }
	[[ $'\n'"$(oci "")"$'\n' == *$'\nstate\n'* ]]
	[[ $'\n'"$(oci run --)"$'\n' == *$'\n--console-socket\n'* ]]
	[ "$(oci list --format "")" = $'table\njson' ]
	[ "$(oci list -format=j)" = -format=json ]
	[ "$(oci kill "")" = "$(cat "$BATS_FILE_TMPDIR/web")" ]
	[ "$(oci kill web HU)" = HUP ]
	[ "$(oci run -b "")" = ":dir 0" ]
	[ "$(oci --log-format "")" = $'text\njson' ]
}

@test "bash: words, values and instances are completed" {
	[ "$(in_bash "caisson --root $STORE imag")" = $'image\nimages' ]
	[ "$(in_bash "caisson --root $STORE exec ")" = web ]
	[ "$(in_bash "caisson --root $STORE run --netw")" = --network ]
	[ "$(in_bash "caisson --root $STORE run --network h")" = host ]
	[ "$(in_bash "caisson-oci --root $STORE/run list --format t")" = table ]
}

@test "bash: what it breaks at : and = is put together, and its last piece replaced" {
	[ "$(in_bash "caisson --root $STORE run --network=ho")" = host ]
	[ "$(in_bash "caisson --root $STORE run --network=")" = $'none\nhost\ncontainer:' ]
	[ "$(in_bash "caisson --root $STORE run --network container:w")" = web ]
	[ "$(in_bash "caisson --root $STORE run --network=container:")" = $'web\nold' ] ||
		[ "$(in_bash "caisson --root $STORE run --network=container:")" = $'old\nweb' ]
	[ "$(in_bash "caisson --root $STORE rmi busybox:la")" = latest ]
	[ "$(SPLIT='' in_bash "caisson --root $STORE rmi busybox:la")" = busybox:latest ]
	[ "$(SPLIT='' in_bash "caisson --root $STORE run --network=ho")" = --network=host ]
}

@test "bash: names of files and directories are completed" {
	[ "$(in_bash "caisson load -i im")" = image.tar ]
	[ "$(in_bash "caisson import im")" = image.tar ]
	[ "$(in_bash "caisson-oci run --bundle b")" = bundle ]
	[ "$(in_bash "caisson-oci run --bundle=b")" = bundle ]
	[ "$(in_bash "caisson-oci run --bundle=im")" = "" ]
}

@test "bash: nothing on the line is evaluated" {
	in_bash "caisson --root $STORE rmi "'$(touch${IFS}hacked)'
	in_bash "caisson --root $STORE load -i "'`touch${IFS}hacked`'
	in_bash "caisson \$(touch\${IFS}hacked) "
	[ ! -e hacked ]
}

@test "bash: the scripts are clean" {
	command -v shellcheck || skip "needs shellcheck"
	caisson completion bash | shellcheck -s bash -
	"$CAISSON_BUILD/bin/caisson-oci" completion bash | shellcheck -s bash -
}

@test "bash: a real one, at a terminal" {
	command -v script || skip "needs script(1)"
	printf '%s\n' 'unset HISTFILE' 'PS1=' 'bind "set enable-bracketed-paste off"' "source <($CAISSON_BUILD/bin/caisson completion bash)" \
		"PATH=$CAISSON_BUILD/bin:\$PATH" >rc
	{
		# In quotes: bash takes { for the beginning of another command.
		printf 'caisson --root %s inspect -f "{{.Name}}" we\t\n' "$STORE"
		printf 'caisson --root %s image ins\t-f "{{.Os}}" busybox:la\t\nexit\n' "$STORE"
	} >keys
	SHELL=/bin/sh TERM=dumb timeout 150 script -qec "bash --noprofile --rcfile rc -i" log <keys >typescript || :
	grep -q '^/web' typescript
	grep -q '^linux' typescript
}

@test "zsh: the scripts are well-formed, and complete" {
	command -v zsh || skip "needs zsh"
	caisson completion zsh >_caisson
	"$CAISSON_BUILD/bin/caisson-oci" completion zsh >_caisson-oci
	zsh -n _caisson
	zsh -n _caisson-oci
	cat >try.zsh <<'END'
zmodload zsh/zpty
zpty shell env -i PATH=$PATH HOME=$PWD TERM=dumb zsh -f -i
zpty -w shell 'PS1=; fpath=($PWD $fpath); autoload -Uz compinit; compinit -D -u'
zpty -w shell 'unsetopt zle_bracketed_paste 2>/dev/null; bindkey "^I" complete-word'
zpty -w -n shell "caisson --root $STORE inspect -f {{.Name}} we"$'\t'$'\n'
zpty -w -n shell "caisson --root $STORE run --network=ho"$'\t'" --rm busybox cat /etc/hostname"$'\n'
zpty -w -n shell "caisson --root $STORE run --network=con"$'\t'"web --rm busybox echo joined"$'\n'
zpty -w -n shell "caisson --root $STORE load -i imag"$'\t'" --name zsh:1"$'\n'
zpty -w -n shell "caisson --root $STORE image ins"$'\t'" -f {{.Os}} busybox:la"$'\t'$'\n'
zpty -w shell 'echo the-end; exit'
while zpty -r shell line; do print -r -- $line; done
END
	PATH=$CAISSON_BUILD/bin:$PATH timeout 150 zsh -f try.zsh >typescript 2>&1 || :
	tr -d '\r' <typescript | grep -qx '/web'
	tr -d '\r' <typescript | grep -qx 'linux'
	tr -d '\r' <typescript | grep -qx 'joined'
	tr -d '\r' <typescript | grep -q 'the archive is empty'
	tr -d '\r' <typescript | grep -qx "$(hostname)"
}

@test "fish: the scripts are well-formed, and complete" {
	command -v fish || skip "needs fish"
	caisson completion fish >caisson.fish
	"$CAISSON_BUILD/bin/caisson-oci" completion fish >caisson-oci.fish
	fish -n caisson.fish
	fish -n caisson-oci.fish
	in_fish() { # LINE
		HOME=$BATS_TEST_TMPDIR PATH=$CAISSON_BUILD/bin:$PATH fish --no-config \
			-c 'source caisson.fish; source caisson-oci.fish; complete -C "$argv[1]"' "$1" | cut -f1
	}
	[ "$(in_fish "caisson --root $STORE exec ")" = web ]
	[ "$(in_fish "caisson --root $STORE run --network=ho")" = --network=host ]
	[[ "$(in_fish "caisson --root $STORE run --network container:w")" == *container:web ]]
	[ "$(in_fish "caisson load -i im")" = image.tar ]
	[ "$(in_fish "caisson-oci run --bundle=bu")" = --bundle=bundle/ ]
	[ "$(in_fish "caisson --root $STORE image ins")" = inspect ]
}

@test "a shell that is not known is refused, with those that are" {
	run --separate-stderr caisson completion tcsh
	[ "$status" = 125 ]
	[[ "$stderr" == *"bash, zsh, fish"* ]]
	run "$CAISSON_BUILD/bin/caisson-oci" completion tcsh
	[ "$status" = 1 ]
	[[ "$output" == *"bash, zsh, fish"* ]]
}
