# SPDX-License-Identifier: Apache-2.0
# TAP as bats prints it -> RESULT, GROUP, LEVEL, NAME, NOTE (tab-separated); see report.bash.

BEGIN {
	planned = -1
}

function flush_test() {
	if (name != "")
		print result "\t" group "\t" level "\t" name "\t" note
	name = ""
}

/^1\.\.[0-9]+/ {
	planned = substr($0, 4) + 0
	next
}

/^(not )?ok [0-9]+ / {
	flush_test()
	seen++
	result = /^not/ ? "fail" : "pass"
	name = $0
	note = ""
	sub(/^(not )?ok [0-9]+ /, "", name)
	if (match(name, / # skip/)) {
		result = "skip"
		note = substr(name, RSTART + 8)
		name = substr(name, 1, RSTART - 1)
		gsub(/^ *| *$/, "", note)
	}
	gsub(/\t/, " ", name)
	group = name
	sub(/:.*/, "", group)
	blank = index(group, " ")
	dot = blank ? index(substr(group, blank), ".") : 0
	if (dot)
		group = substr(group, 1, blank + dot - 2)
	level = match(name, /MUST|SHOULD|MAY/) ? substr(name, RSTART, RLENGTH) : "MUST"
	next
}

# The first words that the test itself printed say more than the line number that bats tells before them.
/^# / {
	if (result != "fail" || /^# \(/ || /^#  from function/ || /^#   `/ || /^#  in test file/)
		next
	line = substr($0, 3)
	gsub(/\t/, " ", line)
	if (length(note) < 300)
		note = note (note == "" ? "" : "; ") line
}

END {
	flush_test()
	if (seen + 0 != planned) {
		print "fail\t" file " all\tMUST\t" file " ran to its end\tonly " seen + 0 " of " planned + 0 " tests reported"
		exit 1
	}
}
