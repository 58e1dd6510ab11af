#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# systemd-in-lab - runs a command under a real systemd --system with its bus, in the lab.
#
#     tests/lab/systemd-in-lab.sh [--user] [LAB OPTIONS --] CMD [ARGS...]
#
# In the lab's throw-away machine systemd becomes process 1 of a pid namespace; it takes the machine's cgroup tree and
# starts nothing but what CMD needs: D-Bus, and CMD as a service. Output and exit status are CMD's. Standard input is
# empty. systemd's own messages go to stderr when it failed before CMD began, or with SYSTEMD_IN_LAB_VERBOSE=1.
# --user: CMD is run by a new user "caisson-lab" (with subuids) under a service manager of its own, with all controllers
# delegated to it, as after a login.
set -eu

outside() {
	mode=--inside
	if [ "${1:-}" = --user ]; then
		mode=--inside-user
		shift
	fi
	here=$(cd "$(dirname "$0")" && pwd)
	options=
	for word; do
		[ "$word" = -- ] && options=yes
	done
	# The words before "--", if there are any, are the lab's.
	if [ -n "$options" ]; then
		count=$#
		seen=
		while [ "$count" -gt 0 ]; do
			word=$1
			shift
			if [ -z "$seen" ] && [ "$word" = -- ]; then
				seen=yes
				set -- "$@" -- "$here/systemd-in-lab.sh" "$mode"
			else
				set -- "$@" "$word"
			fi
			count=$((count - 1))
		done
		exec "$here/lab" run --env SYSTEMD_IN_LAB_VERBOSE="${SYSTEMD_IN_LAB_VERBOSE:-}" "$@"
	fi
	exec "$here/lab" run --env SYSTEMD_IN_LAB_VERBOSE="${SYSTEMD_IN_LAB_VERBOSE:-}" -- "$here/systemd-in-lab.sh" "$mode" "$@"
}

# One argument, quoted for sh.
quote() {
	printf "'%s' " "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}

# As after a login of a user: the service manager, in a cgroup that it may divide.
make_user() {
	useradd --create-home caisson-lab >&2
	uid=$(id -u caisson-lab)
	mkdir -p "/run/user/$uid"
	chown caisson-lab: "/run/user/$uid" /run/systemd-in-lab/out /run/systemd-in-lab/err /run/systemd-in-lab
	chmod 700 "/run/user/$uid"
	{
		echo '[Unit]'
		echo 'DefaultDependencies=no'
		echo 'After=dbus.service'
		echo '[Service]'
		echo 'User=caisson-lab'
		echo 'Slice=user.slice'
		echo 'Type=notify'
		echo 'Delegate=yes'
		echo "Environment=XDG_RUNTIME_DIR=/run/user/$uid HOME=/home/caisson-lab"
		echo 'UnsetEnvironment=SYSTEMD_UNIT_PATH'
		echo 'ExecStart=/lib/systemd/systemd --user'
	} >"$units/lab-user.service"
	{
		echo '[Unit]'
		echo 'Wants=lab-user.service'
		echo 'After=lab-user.service'
		echo '[Service]'
		echo 'User=caisson-lab'
		echo "Environment=XDG_RUNTIME_DIR=/run/user/$uid HOME=/home/caisson-lab"
	} >"$units/lab.service.d/user.conf"
}

inside() {
	units=/run/systemd-in-lab/units
	mkdir -p "$units/lab.service.d" /run/systemd /run/dbus
	mkfifo /run/systemd-in-lab/out /run/systemd-in-lab/err

	{
		echo '#!/bin/sh'
		echo 'exec >/run/systemd-in-lab/out 2>/run/systemd-in-lab/err'
		echo ': >/run/systemd-in-lab/begun'
		echo "export PATH=$(quote "$PATH")"
		printf 'cd %s\n' "$(quote "$PWD")"
		printf 'exec '
		if [ -n "$user" ]; then
			# Through the user's manager: only what it started itself is in the part of the tree that is delegated.
			printf 'systemd-run --user --quiet --wait --pipe --collect -p Delegate=yes --same-dir -- '
		fi
		for word; do quote "$word"; done
		echo
	} >/run/systemd-in-lab/command
	chmod 755 /run/systemd-in-lab/command

	cat >"$units/lab.target" <<-UNIT
		[Unit]
		Requires=lab.service dbus.socket
	UNIT
	# Not for a guest of a minute; and systemd-tmpfiles would empty /tmp.
	for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-sysusers.service \
		systemd-update-utmp.service systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket \
		systemd-journald-audit.socket systemd-journal-flush.service systemd-modules-load.service \
		systemd-sysctl.service systemd-random-seed.service systemd-ask-password-console.path tmp.mount; do
		ln -s /dev/null "$units/$unit"
	done
	# The exit of the command ends systemd, with the same status.
	cat >"$units/lab.service" <<-UNIT
		[Unit]
		DefaultDependencies=no
		Wants=dbus.service
		After=dbus.socket dbus.service
		SuccessAction=exit-force
		FailureAction=exit-force
		[Service]
		Type=simple
		ExecStart=/run/systemd-in-lab/command
		TimeoutStartSec=infinity
	UNIT

	[ -z "$user" ] || make_user

	cat /run/systemd-in-lab/out &
	out=$!
	cat /run/systemd-in-lab/err >&2 &
	err=$!
	status=0
	# "container" tells systemd to leave the machine's devices, kernel settings and clock alone.
	env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH="$units:/lib/systemd/system" \
		unshare --pid --fork --mount --mount-proc --kill-child -- /lib/systemd/systemd --system \
		--unit=lab.target --log-target=console --log-level=info --show-status=false \
		--default-standard-output=null \
		</dev/null >/run/systemd-in-lab/log 2>&1 || status=$?
	if [ ! -e /run/systemd-in-lab/begun ] || [ -n "${SYSTEMD_IN_LAB_VERBOSE:-}" ]; then
		cat /run/systemd-in-lab/log >&2
	fi
	if [ ! -e /run/systemd-in-lab/begun ]; then
		echo "systemd-in-lab: systemd ended (status $status) before the command began" >&2
		kill "$out" "$err"
		exit 125
	fi
	wait "$out" "$err"
	exit "$status"
}

case ${1:-} in
--inside)
	user=
	shift
	inside "$@"
	;;
--inside-user)
	user=yes
	shift
	inside "$@"
	;;
'' | -h | --help)
	sed -n '3,13s/^# \{0,1\}//p' "$0"
	[ "${1:-}" ] || exit 2
	;;
*) outside "$@" ;;
esac
