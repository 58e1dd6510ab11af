# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# report - from bats' TAP files to what people read.
#
# collect() makes results.tsv, one line per test: RESULT (pass, fail, skip), GROUP, LEVEL (MUST, SHOULD, MAY), NAME, NOTE.
# A test's name is "DOCUMENT SUBJECT: REQUIREMENT"; the group is the document with the first word of the subject.

collect() {
	local tap file
	: >"$1/results.tsv"
	for tap in "$1"/*.tap; do
		file=${tap##*/}
		awk -v file="${file%.tap}" -f "$HERE/lib/tap.awk" "$tap" >>"$1/results.tsv" ||
			tail -n 5 "$1/${file%.tap}.err" >&2
	done
}

# show DIR RUNTIME...: prints in the chosen format; fails when a test failed (of a single runtime).
show() {
	local dir=$1
	shift
	if [ "$MARKDOWN" = yes ]; then
		markdown "$dir" "$@"
	elif [ $# -gt 1 ]; then
		compare "$dir" "$@"
	elif [ "$FORMAT" = json ]; then
		as_json "$dir/$1.tsv" "$1"
	else
		"as_$FORMAT" "$dir/$1.tsv"
		totals "$dir/$1.tsv"
	fi
	[ $# -gt 1 ] || ! grep -q '^fail' "$dir/$1.tsv"
}

count() { # RESULT FILE
	grep -c "^$1"$'\t' "$2" || true
}

totals() {
	echo "$(count pass "$1") passed, $(count fail "$1") failed, $(count skip "$1") skipped"
}

as_tap() {
	awk -F '\t' '{ n++; line = "ok " n " " $4 }
		$1 == "fail" { line = "not " line }
		$1 == "skip" { line = line " # skip " $5 }
		{ lines[n] = line; note[n] = $1 == "fail" ? $5 : "" }
		END { print "1.." n; for (i = 1; i <= n; i++) { print lines[i]; if (note[i] != "") print "# " note[i] } }' "$1"
}

as_json() {
	jq -Rn --arg runtime "$2" '[inputs | split("\t") | {result: .[0], section: .[1], level: .[2], name: .[3], note: .[4]}]
		| {runtime: $runtime, passed: map(select(.result == "pass")) | length,
		   failed: map(select(.result == "fail")) | length, skipped: map(select(.result == "skip")) | length,
		   tests: .}' "$1"
}

# Totals per group, in the order of first appearance.
groups() {
	awk -F '\t' '!($2 in seen) { order[++n] = $2; seen[$2] = 1 } { count[$2, $1]++ }
		END { for (i = 1; i <= n; i++) { g = order[i]
			printf "%s\t%d\t%d\t%d\n", g, count[g, "pass"], count[g, "fail"], count[g, "skip"] } }' "$1"
}

as_table() {
	awk -F '\t' '$1 == "skip" { skipped[$5] = skipped[$5] "\n      " $4 }
		$1 == "fail" { print "not ok  " $4 "\n        " $5; failed++ }
		END { if (failed) print ""
			for (reason in skipped) print "skipped: " reason skipped[reason] }' "$1"
	echo
	printf '%-42s %7s %7s %7s\n' section passed failed skipped
	groups "$1" | awk -F '\t' '{ printf "%-42s %7d %7d %7d\n", $1, $2, $3, $4 }'
	echo
	awk -F '\t' '{ count[$3, $1]++ } END { split("MUST SHOULD MAY", level, " ")
		for (i = 1; i <= 3; i++) printf "%-42s %7d %7d %7d\n", level[i], count[level[i], "pass"],
			count[level[i], "fail"], count[level[i], "skip"] }' "$1"
	echo
}

# One line per group: GROUP, then "passed/failed/skipped" for each runtime.
side_by_side() {
	local dir=$1 name
	shift
	for name in "$@"; do
		groups "$dir/$name.tsv" | sed "s/^/$name\t/"
	done | awk -F '\t' -v names="$*" '!($2 in seen) { order[++n] = $2; seen[$2] = 1 }
		{ cell[$2, $1] = $3 "\t" $4 "\t" $5 }
		END { count = split(names, name, " ")
			for (i = 1; i <= n; i++) { printf "%s", order[i]
				for (j = 1; j <= count; j++) printf "\t%s", (order[i], name[j]) in cell ? cell[order[i], name[j]] : "0\t0\t0"
				printf "\n" } }'
}

compare() {
	local dir=$1 name
	shift
	printf '%-36s' ''
	printf ' %20.20s' "$@"
	printf '\n%-36s' section
	for name in "$@"; do printf ' %20s' 'pass  fail  skip'; done
	echo
	side_by_side "$dir" "$@" | awk -F '\t' '{ printf "%-36s", $1
		for (i = 2; i <= NF; i += 3) printf " %8d %5d %5d", $i, $(i + 1), $(i + 2); printf "\n" }'
	for name in "$@"; do
		echo "$name: $(totals "$dir/$name.tsv") (cgroups: $(<"$dir/$name.view"))"
	done
}

# What the tests of the runtimes say differently: NAME, then each runtime's result.
differences() {
	local dir=$1 name
	shift
	for name in "$@"; do
		sed "s/^/$name\t/" "$dir/$name.tsv"
	done | awk -F '\t' -v names="$*" '!($5 in seen) { order[++n] = $5; seen[$5] = 1 }
		{ cell[$5, $1] = $2; if ($2 == "fail") bad[$5] = 1 }
		END { count = split(names, name, " ")
			for (i = 1; i <= n; i++) if (order[i] in bad) { printf "%s", order[i]
				for (j = 1; j <= count; j++) printf "\t%s", cell[order[i], name[j]]
				printf "\n" } }'
}

markdown() {
	local dir=$1 name
	shift
	cat <<-END
		# Conformance

		What the runtimes make of the OCI runtime specification (1.2, with the additions of 1.3), requirement by requirement:
		\`make conformance RUNTIME=PATH\` runs the suite in \`tests/conformance\` against any OCI runtime. This page is written by
		\`tests/conformance/run --compare ... --markdown\`; do not edit it.

		Measured on Linux $(uname -r), $(date -u +%Y-%m-%d).

		| runtime | version | cgroups | passed | failed | skipped |
		| --- | --- | --- | --- | --- | --- |
	END
	for name in "$@"; do
		echo "| $name | $(head -n 1 "$dir/$name.version" | sed 's/.*version //') | $(cut -d' ' -f2 "$dir/$name.view") |" \
			"$(count pass "$dir/$name.tsv") | $(count fail "$dir/$name.tsv") | $(count skip "$dir/$name.tsv") |"
	done
	printf '\n## Section by section\n\npassed / failed / skipped\n\n| section |'
	printf ' %s |' "$@"
	printf '\n| --- |'
	printf ' --- |%.0s' "$@"
	echo
	side_by_side "$dir" "$@" | awk -F '\t' '{ printf "| %s |", $1
		for (i = 2; i <= NF; i += 3) printf " %d / %d / %d |", $i, $(i + 1), $(i + 2); printf "\n" }'
	printf '\n## What fails somewhere\n\n| requirement |'
	printf ' %s |' "$@"
	printf '\n| --- |'
	printf ' --- |%.0s' "$@"
	echo
	differences "$dir" "$@" | awk -F '\t' '{ gsub(/\|/, "\\|"); printf "| %s |", $1
		for (i = 2; i <= NF; i++) printf " %s |", $i; printf "\n" }'
	printf '\n## Skipped\n\n'
	for name in "$@"; do
		echo "$name:"
		awk -F '\t' '$1 == "skip" { count[$5]++ } END { for (r in count) printf "- %s (%d)\n", r, count[r] }' \
			"$dir/$name.tsv" | sort
		echo
	done
}
