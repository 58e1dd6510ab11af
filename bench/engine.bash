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
	have podman || return 1
	cat >"$WORK/containers.conf" <<-S
		[containers]
		default_ulimits = ["nofile=1024:4096","nproc=8192:8192"]
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
	S
	export CONTAINERS_CONF=$WORK/containers.conf
	PODMAN="podman --root $WORK/podman --runroot $WORK/podman-run --tmpdir $WORK/podman-tmp --cgroup-manager cgroupfs --events-backend file --runtime $(command -v runc)"
	$PODMAN import "$WORK/image.tar" bench:1 >"$WORK/out" 2>&1
}

pss() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; } # KiB

if wanted engine && engine_ready; then
	commands=(caisson "${ENGINE[*]} run --rm --network none bench:1 /bin/true")
	podman_ready && commands+=(podman "$PODMAN run --rm --network none bench:1 /bin/true")
	rounds=$((ROUNDS / 4 + 1))
	measure engine "$BUILD/bench/measure" -n $rounds "${commands[@]}"
	row "caisson run --rm --network none, ms (podman ${MEDIAN[engine.podman]:--})" "${MEDIAN[engine.caisson]:--}" "" ""
	row "  over podman" "$(ratio engine.caisson engine.podman)" "<= 0.06" "<= 0.02"
fi

if wanted memory && engine_ready; then
	monitors=()
	for i in 1 2 3 4; do
		id=$("${ENGINE[@]}" run -d --name "idle$i" bench:1 sleep 100000)
		pid=$("${ENGINE[@]}" inspect --format '{{.State.Pid}}' "$id")
		monitors+=("$(awk '{ print $4 }' "/proc/$pid/stat")")
	done
	total=0
	for pid in "${monitors[@]}"; do total=$((total + $(pss "$pid"))); done
	row "monitor of an idle instance, PSS, KiB" "$((total / ${#monitors[@]}))" "<= 325" "<= 150"
	"${ENGINE[@]}" rm -f idle1 idle2 idle3 idle4 >"$WORK/out"
fi

if wanted many && engine_ready; then
	start=$EPOCHREALTIME
	for i in $(seq 200); do "${ENGINE[@]}" run -d --name "many$i" bench:1 sleep 100000 >"$WORK/out.$i" 2>&1 & jobs[i]=$!; done
	failed=0
	for i in $(seq 200); do wait "${jobs[i]}" || failed=$((failed + 1)); done
	row "200 instances started in parallel, ms each" "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", (b - a) * 5 }')" "" "flat"
	row "  of them failed" "$failed" "0" "0"
	start=$EPOCHREALTIME
	"${ENGINE[@]}" ps -aq | xargs "${ENGINE[@]}" rm -f >"$WORK/out" 2>&1
	row "  and removed, ms each" "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", (b - a) * 5 }')" "" "flat"
	row "  left behind" "$("${ENGINE[@]}" ps -aq | wc -l)" "0" "0"
fi
