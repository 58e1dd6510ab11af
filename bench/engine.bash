# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2153
# The engine's figures; read by bench/run, whose variables and functions it uses.

ENGINE=("$BIN/caisson" --root "$WORK/engine")
engine_ready() {
	[ -x "$BIN/caisson" ] || return 1
	[ -e "$WORK/image.tar" ] || "$HERE/tools/make-default-image" "$WORK/image.tar" >"$WORK/out" || return 1
	"${ENGINE[@]}" image inspect bench:1 >"$WORK/out" 2>&1 || "${ENGINE[@]}" image import "$WORK/image.tar" bench:1 >"$WORK/out"
}

# podman with a store of its own, without limits that this machine may not raise.
podman_ready() {
	[ -z "${PODMAN:-}" ] || return 0
	have podman || return 1
	export CONTAINERS_CONF=$HERE/tests/containers.conf
	PODMAN="podman --root $WORK/podman --runroot $WORK/podman-run --tmpdir $WORK/podman-tmp --cgroup-manager cgroupfs --events-backend file"
	have runc && PODMAN+=" --runtime $(command -v runc)"
	# It leaves the cgroups of its conmons.
	PODMAN_RUN="run --cgroup-parent /caisson-bench-$$"
	CLEANUP+=("find /sys/fs/cgroup -depth -type d -path '*/caisson-bench-$$*' -exec rmdir {} + 2>$WORK/err")
	# Where its overlay mounts stay behind, a store cannot be removed as files.
	CLEANUP+=("for m in \$(awk '\$5 ~ \"^$WORK/\" { print \$5 }' /proc/self/mountinfo | sort -r); do umount \$m; done")
	# shellcheck disable=SC2086
	$PODMAN import "$WORK/image.tar" bench:1 >"$WORK/out" 2>&1 && return 0
	note "podman does not work here: $(tail -1 "$WORK/out")"
	PODMAN=
	return 1
}

pss() { awk '/^Pss:/ { sum += $2 } END { print sum + 0 }' "${@/%//smaps_rollup}" 2>"$WORK/err"; } # KiB of /proc/PID...
monitor_of() { awk '{ print "/proc/" $4 }' "/proc/$("${ENGINE[@]}" inspect --format '{{.State.Pid}}' "$1")/stat"; }
milliseconds() { awk -v a="$1" -v b="$2" -v n="$3" 'BEGIN { printf "%.1f", (b - a) * 1000 / n }'; }

if wanted engine && engine_ready; then
	commands=(caisson "${ENGINE[*]} run --rm --network none bench:1 /bin/true")
	podman_ready && commands+=(podman "$PODMAN $PODMAN_RUN --rm --network none bench:1 /bin/true")
	measure engine "$BIN/measure" -n $((ROUNDS / 2 + 1)) "${commands[@]}"
	compare "run --rm --network none: caisson, podman; ms" engine.caisson engine.podman "<= 0.06" "<= 0.02"
fi

if wanted memory && engine_ready; then
	monitors=() conmons=() theirs=
	for i in 1 2 3 4; do
		"${ENGINE[@]}" run -d --name "idle$i" --network none bench:1 sleep 100000 >"$WORK/out"
		monitors+=("$(monitor_of "idle$i")")
	done
	if podman_ready; then
		for i in 1 2 3 4; do
			# shellcheck disable=SC2086
			if $PODMAN $PODMAN_RUN -d --name "idle$i" --network none bench:1 sleep 100000 >"$WORK/out" 2>&1; then
				conmons+=("/proc/$($PODMAN inspect --format '{{.State.ConmonPid}}' "idle$i")")
			fi
		done
		[ ${#conmons[@]} -eq 0 ] || theirs=$(($(pss "${conmons[@]}") / ${#conmons[@]}))
		# shellcheck disable=SC2086
		$PODMAN rm -f -t 0 idle1 idle2 idle3 idle4 >"$WORK/out" 2>&1
	fi
	ours=$(($(pss "${monitors[@]}") / ${#monitors[@]}))
	line "idle instance: monitor, conmon; PSS, KiB" "$ours" "$theirs" "$(divide "$ours" "$theirs")" "" "<= 0.5" "" "$(divide "$ours" "$theirs")"
	value "  the monitor by itself" "$ours" "" "<= 150"
	"${ENGINE[@]}" rm -f idle1 idle2 idle3 idle4 >"$WORK/out"
fi

# What is there now that was not there before: instances, monitors, cgroups, mounts.
count_left() {
	local ids
	shopt -s nullglob
	ids=("$WORK"/engine/instances/* "$WORK"/engine/names/* "$WORK"/engine/leases/* "$WORK"/engine/pending/* "$WORK"/engine/run/[!@]*/)
	shopt -u nullglob
	echo $((${#ids[@]} + $(pgrep -c -f "caisson-monitor [0-9]+ [0-9a-f]{64} $BIN/caisson $WORK/engine") + \
		$(find /sys/fs/cgroup -maxdepth 2 -name 'caisson-*' 2>"$WORK/err" | grep -c -F -f "$WORK/ids") + $(mounts_seen)))
}
mounts_seen() { grep -c -F "$WORK/engine" /proc/self/mountinfo; }
# The last monitors may still be giving blocks back to the disk.
left_behind() {
	local tries left
	for ((tries = 0; tries < 50; tries++)); do
		left=$(count_left)
		[ "$left" -gt 0 ] || break
		sleep 0.1
	done
	echo "$left"
}

if wanted many && engine_ready; then
	start=$EPOCHREALTIME
	for i in $(seq 200); do "${ENGINE[@]}" run -d --name "many$i" --network none bench:1 sleep 100000 >"$WORK/out.$i" 2>&1 & jobs[i]=$!; done
	failed=0
	for i in $(seq 200); do wait "${jobs[i]}" || failed=$((failed + 1)); done
	value "200 instances, started in parallel; ms each" "$(milliseconds "$start" "$EPOCHREALTIME" 200)" "" ""
	value "  of them failed" "$failed" "<= 0" ""
	"${ENGINE[@]}" ps -aq --no-trunc >"$WORK/ids"
	start=$EPOCHREALTIME
	xargs -n 20 -P 4 "${ENGINE[@]}" rm -f <"$WORK/ids" >"$WORK/out" 2>&1 || note "rm -f: $(grep -m1 caisson: "$WORK/out")"
	value "  and removed; ms each" "$(milliseconds "$start" "$EPOCHREALTIME" 200)" "" ""
	value "  left behind" "$(left_behind)" "<= 0" ""
fi

charged() { # KiB that an instance's memory cgroup is charged, the kernel's part included
	local id
	while read -r id; do
		cat "/sys/fs/cgroup/memory/caisson-$id/memory.usage_in_bytes" "/sys/fs/cgroup/caisson-$id/memory.current" 2>"$WORK/err"
	done <"$WORK/ids" | awk '{ sum += $1 } END { if (NR) printf "%d", sum / NR / 1024 }'
}

available() { awk '/^MemAvailable:/ { print $2 }' /proc/meminfo; }
hundred() { # FIRST NAME: a hundred instances one after the other, and what one of them took
	measure alive "$BIN/measure" -d -w 0 -n 100 "$1" "${ENGINE[*]} run -d --network none bench:1 sleep 100000"
}

if wanted alive && engine_ready; then
	# One takes about 0.7 MiB, most of it the kernel's.
	if [ "$(available)" -lt $((INSTANCES * 1500)) ]; then
		INSTANCES=$(($(available) / 1500 / 100 * 100))
		note "memory for $INSTANCES instances only"
	fi
	before=$(available)
	hundred first
	seq $((INSTANCES - 200)) | xargs -P 4 -I{} "${ENGINE[@]}" run -d --network none bench:1 sleep 100000 >"$WORK/out" 2>&1 ||
		note "run -d: $(grep -m1 caisson: "$WORK/out")"
	hundred last
	"${ENGINE[@]}" ps -q --no-trunc >"$WORK/ids"
	alive=$(wc -l <"$WORK/ids")
	line "$INSTANCES instances: last 100, first 100; ms each" "${MEDIAN[alive.last]:-}" "${MEDIAN[alive.first]:-}" \
		"$(divide "${MEDIAN[alive.last]:-}" "${MEDIAN[alive.first]:-}")" "$(divide "${CPU[alive.last]:-}" "${CPU[alive.first]:-}")" \
		"" "<= 1.25" "$(divide "${CPU[alive.last]:-}" "${CPU[alive.first]:-}")"
	value "  of them not running" "$((INSTANCES - alive))" "<= 0" ""
	value "  their cgroups' memory, KiB each" "$(charged)" "" ""
	value "  all that the machine has less, KiB each" "$(((before - $(available)) / INSTANCES))" "" ""
	mapfile -t monitors < <(pgrep -f "caisson-monitor [0-9]+ [0-9a-f]{64} $BIN/caisson $WORK/engine" | sed 's|^|/proc/|')
	value "  their monitors' PSS, KiB each" "$(($(pss "${monitors[@]}") / ${#monitors[@]}))" "" ""
	value "  mounts that the host sees of them" "$(mounts_seen)" "<= 0" ""
	start=$EPOCHREALTIME
	xargs -n 50 -P 4 "${ENGINE[@]}" rm -f <"$WORK/ids" >"$WORK/out" 2>&1 || note "rm -f: $(grep -m1 caisson: "$WORK/out")"
	value "  and removed; ms each" "$(milliseconds "$start" "$EPOCHREALTIME" "$alive")" "" ""
	value "  left behind" "$(left_behind)" "<= 0" ""
fi
