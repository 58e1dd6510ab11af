# TAP -> "PASSED FAILED SKIPPED" on standard output, and what a reader must know in the file `report`.
# A suite that planned more than it ran, ran nothing, or ended badly without a failed test counts as one failed test more.

function say(line) { print line > report }
function end_point() {
	if (bad != "") {
		say("    FAIL  " bad)
		for (i = 1; i <= said; i++)
			say("          " what[i])
	}
	bad = ""
	said = 0
}

BEGIN { printf "" > report; planned = -1 }

/^1\.\.[0-9]+/ {
	planned = substr($0, 4) + 0
	if (planned == 0 && /# *[Ss][Kk][Ii][Pp]/) {
		sub(/.*# *[Ss][Kk][Ii][Pp][^ ]* */, "")
		say("    skip  the whole suite: " $0)
		skipped++
		whole = 1
	}
	next
}

/^(not )?ok( |$)/ {
	line = $0
	sub(/^(not )?ok *[0-9]* *-? */, "", line)
	if (match(line, / *# *[Ss][Kk][Ii][Pp]/)) {
		end_point()
		reason = substr(line, RSTART + RLENGTH)
		name = substr(line, 1, RSTART - 1)
		gsub(/^ *\(?|\)? *$/, "", reason)
		if (reason == "")
			reason = before == "" ? "no reason given" : before
		say("    skip  " name ": " reason)
		skipped++
		before = ""
		ran++
		next
	}
	if (/^not/) {
		if (bad != "") {
			end_point()
			before = ""
		}
		if (before != "")
			what[++said] = before
		bad = line
		failed++
	} else {
		end_point()
		passed++
	}
	before = ""
	ran++
	next
}

/^#/ {
	text = substr($0, 2)
	sub(/^ /, "", text)
	before = text
	sub(/^[Ss]kipp(ed|ing):? */, "", before)
	if (bad != "" && said < 30)
		what[++said] = text
}

END {
	end_point()
	if (!whole && (ran == 0 || planned > ran)) {
		say("    FAIL  ended after " ran + 0 " of " (planned < 0 ? "an unknown number of" : planned) " tests, status " status)
		failed++
	} else if (status != 0 && failed == 0) {
		say("    FAIL  all tests passed, but the suite ended with status " status)
		failed++
	}
	print passed + 0, failed + 0, skipped + 0
}
