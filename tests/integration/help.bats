#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # output, lines, status, stderr: assigned by bats' run
#
# --help and the man pages.

bats_require_minimum_version 1.5.0

setup()
{
	TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	BUILD=${CAISSON_BUILD:-$TOP/build}
	cd "$BATS_TEST_TMPDIR" || return
}

# The commands of a program, as words: "image load".
commands_of()
{
	"$BUILD/bin/$1" help --machine | awk -F '\t' -v program="$1" '$1 == "command" { print substr($2, length(program) + 2) }'
}

@test "every command's --help is on standard output, with its usage and examples" {
	local program path wrong=0
	for program in caisson caisson-oci; do
		while read -r path; do
			# shellcheck disable=SC2086 # words
			run --separate-stderr "$BUILD/bin/$program" $path --help
			if [ "$status" != 0 ] || [ -n "$stderr" ] || [[ "${output,,}" != *usage:*example* ]] ||
				[ "$(sed -n '/xample/I,$p' <<<"$output" | grep -c caisson)" = 0 ]; then
				echo "$program $path --help: $status"
				echo "$output$stderr"
				wrong=1
			fi
		done < <(commands_of "$program"; echo)
	done
	[ "$wrong" = 0 ]
}

@test "help COMMAND and COMMAND -h are the same as --help" {
	[ "$("$BUILD/bin/caisson" help image load)" = "$("$BUILD/bin/caisson" image load --help)" ]
	[ "$("$BUILD/bin/caisson" ps -h)" = "$("$BUILD/bin/caisson" ps --help)" ]
	[ "$("$BUILD/bin/caisson" image help)" = "$("$BUILD/bin/caisson" image --help)" ]
	[ "$("$BUILD/bin/caisson-oci" help run)" = "$("$BUILD/bin/caisson-oci" run --help)" ]
	[ "$("$BUILD/bin/caisson-oci" run -h)" = "$("$BUILD/bin/caisson-oci" run --help)" ]
}

@test "the examples of --help use flags that there are" {
	local line wrong=0 word path
	"$BUILD/bin/caisson" help --machine >machine
	while read -r path; do
		while read -r line; do
			[[ "$line" == caisson* ]] || continue
			# shellcheck disable=SC2086 # words
			for word in $line; do
				[[ "$word" != --[a-z]* ]] || grep -qF -- "	${word%%=*}	" machine ||
					{ echo "$path: $line: no $word"; wrong=1; }
			done
			# shellcheck disable=SC2086
			set -- $line
			grep -qE "^(command|option)	caisson $2(	| )" machine || { echo "$path: no command in: $line"; wrong=1; }
		done < <("$BUILD/bin/caisson" $path --help | sed -n '/^Examples:/,/^$/s/^  //p')
	done < <(commands_of caisson)
	[ "$wrong" = 0 ]
}

@test "the man pages and the programs tell of the same commands and flags" {
	run "$TOP/tools/check-man" --build "$BUILD"
	echo "$output"
	[ "$status" = 0 ]
}

@test "the check of the man pages finds what is missing, and what is too much" {
	cp -r "$TOP/man" .
	sed -i '/^\.It Fl m , Fl -memory Ar bytes$/d' man/caisson-run.1
	sed -i 's/^\.It Fl f , Fl -force$/.It Fl F , Fl -force/' man/caisson-rm.1
	sed -i 's/^\.Ss caisson-oci kill$/.Ss caisson-oci murder/' man/caisson-oci.8
	run "$TOP/tools/check-man" --build "$BUILD" --man man
	[ "$status" = 1 ]
	[[ "$output" == *"in no man page: caisson run --memory -m bytes"* ]]
	[[ "$output" == *"in no man page: caisson create --memory -m bytes"* ]]
	[[ "$output" == *"in no program: caisson rm --force -F -"* ]]
	[[ "$output" == *"in no program: caisson-oci murder"* ]]
	[[ "$output" == *"in no man page: caisson-oci kill"* ]]
	cp man/caisson-run.1 man/caisson-more.1
	run "$TOP/tools/check-man" --build "$BUILD" --man man
	[[ "$output" == *"not installed: caisson-more.1"* ]]
}

@test "make install puts pages, completions and programs where they are looked for" {
	DESTDIR=$BATS_TEST_TMPDIR/root meson install -C "$BUILD" --no-rebuild >log
	local prefix page
	prefix=$(dirname "$(dirname "$(find root -path '*/bin/caisson')")")
	[ -x "$prefix/bin/caisson-oci" ]
	[ -x "$prefix/libexec/caisson/caisson-monitor" ]
	for page in caisson.1 caisson-run.1 caisson-create.1 caisson-rmi.1; do
		[ -s "$prefix/share/man/man1/$page" ]
	done
	[ -s "$prefix/share/man/man8/caisson-oci.8" ]
	[ -s "$prefix/share/bash-completion/completions/caisson.bash" ]
	[ -s "$prefix/share/zsh/site-functions/_caisson-oci" ]
	[ -s "$prefix/share/fish/vendor_completions.d/caisson.fish" ]
	"$prefix/bin/caisson" completion bash | cmp - "$prefix/share/bash-completion/completions/caisson.bash"
}

@test "docs/security.md names the flaws that tests attack, where they do" {
	local line path wrong=0
	while IFS= read -r line; do
		for path in $(grep -oE 'tests/[a-z_/]+\.(bats|c)' <<<"$line"); do
			[ -e "$TOP/$path" ] || { echo "no $path"; wrong=1; }
		done
	done <"$TOP/docs/security.md"
	# What a test is named for is in the table, with that test.
	while IFS=: read -r path line; do
		grep -E "^\| [^|]*$line.*$path" "$TOP/docs/security.md" >/dev/null || { echo "$path has $line, the table does not"; wrong=1; }
	done < <(cd "$TOP" && grep -oE '^@test "[^:]*:' tests/security/*.bats | sed -E 's/@test "//' | while IFS=: read -r path names; do
		grep -oE 'CVE-[0-9]+-[0-9]+' <<<"$names" | sed "s,^,$path:,"; done | sort -u)
	# And the other way about.
	while IFS= read -r line; do
		for path in $(grep -oE 'tests/security/[a-z_/]+\.bats' <<<"$line"); do
			grep -qE "^@test \"[^\"]*($(cut -d'|' -f2 <<<"$line" | grep -oE 'CVE-[0-9]+-[0-9]+' | paste -sd'|'))" "$TOP/$path" ||
				{ echo "no such test in $path: $line"; wrong=1; }
		done
	done < <(grep '^| CVE-' "$TOP/docs/security.md")
	[ "$wrong" = 0 ]
}

@test "docs/dependencies.md names what is installed and linked" {
	local package wrong=0
	while read -r _ package _; do
		grep -qE "(^|[^a-z0-9-])(lib)?$(sed "s,^lib,,; s,-dev$,," <<<"$package")(-dev)?([^a-z0-9-]|$)" "$TOP/docs/dependencies.md" || { echo "$package is not in docs/dependencies.md"; wrong=1; }
	done < <(grep -E '^(build|run|test|lint|fuzz|bench) ' "$TOP/tools/packages.txt")
	while read -r package; do
		[ "$package" = threads ] && continue # meson's name for what the C library has
		grep -qE "pc:$package$" "$TOP/tools/packages.txt" || { echo "dependency('$package') is not in tools/packages.txt"; wrong=1; }
	done < <(cat "$TOP"/meson.build "$TOP"/*/meson.build "$TOP"/*/*/meson.build | grep -oE "dependency\('[a-z0-9-]+'" | grep -oE "'[^']+" | tr -d "'" | sort -u)
	[ "$wrong" = 0 ]
}
