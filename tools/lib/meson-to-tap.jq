# meson's testlog.json -> TAP: the points that each cmocka program printed, its name put before; one point for a program
# that printed none, or ended badly after its last one.  Numbers are given by the caller.
#
# Valgrind implements system calls itself and lacks newer ones (fsopen, pidfd_open, seccomp, ...): there, a program that
# met one of them cannot pass, and is skipped as a whole.  The sanitizers' run has no such hole.
def lines: split("\n");
(.stdout // "") as $out
| (.stderr // "") as $err
| ($out + $err) as $said
| .name as $name
| [$out | lines[] | select(test("^(not )?ok [0-9]+"))] as $points
| ($points | map(select(test("^not ok") and (test("# SKIP") | not)))) as $bad
| (($said | capture("unhandled amd64-linux syscall: (?<number>[0-9]+)") | "system call " + .number)
   // ($said | if test("Function not implemented|ENOSYS|38 != |ffda != ") then "a system call" else null end)) as $lacks
| if .result != "OK" and (.command | tostring | test("valgrind")) and $lacks != null then
    "ok 0 - \($name) # skip valgrind does not know \($lacks), which this program needs"
  else
    ( $out | lines[]
      | if test("^(not )?ok [0-9]+ # SKIP ") then capture("# SKIP (?<t>.*)") | "ok 0 - \($name): \(.t) # skip"
        elif test("^(not )?ok [0-9]+ - ") then sub(" - "; " - \($name): ")
        elif test("^(1\\.\\.|# (not )?ok)") then empty
        elif . == "" then empty
        else "# " + sub("^# "; "") end ),
    ( if ($points | length) == 0 or (.result != "OK" and ($bad | length) == 0) then
        ( if .result == "SKIP" then "ok 0 - \($name) # skip the program said so"
          elif .result == "OK" then "ok 0 - \($name)"
          else "not ok 0 - \($name) ended with \(.result), status \(.returncode)" end )
      else empty end ),
    ( if .result != "OK" then ($err | lines[-40:][] | select(. != "") | "# " + .) else empty end )
  end
