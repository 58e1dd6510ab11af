#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154,SC2016
# lab: v2 apart
#
# virtio's small devices under the distribution's drivers, on real KVM: the agent's port, entropy, the balloon, stream
# sockets, shared directories.

load machine
export BATS_TEST_TIMEOUT=300

setup_file()
{
	export SHARE=/scratch/share SOCKETS=/scratch/sockets
	mkdir -p "$SHARE/read-only" "$SOCKETS"
	echo "from the host" >"$SHARE/file"
	ln -s /etc/shadow "$SHARE/link"
	# busybox knows no AF_VSOCK: listen PORT echoes one connection in capitals, connect PORT TEXT prints the answer
	cat >/scratch/vsock.c <<-'C'
		#include <ctype.h>
		#include <stdio.h>
		#include <stdlib.h>
		#include <string.h>
		#include <sys/socket.h>
		#include <linux/vm_sockets.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_port = atoi(argv[2]) };
			int s = socket(AF_VSOCK, SOCK_STREAM, 0);
			char b[65536];
			ssize_t n;
			if (argc == 3) {
				a.svm_cid = VMADDR_CID_ANY;
				if (bind(s, (void *)&a, sizeof(a)) || listen(s, 5))
					return perror("listen"), 1;
				puts("listening");
				fflush(stdout);
				s = accept(s, NULL, NULL);
				while ((n = read(s, b, sizeof(b))) > 0) {
					for (ssize_t i = 0; i < n; i++)
						b[i] = toupper(b[i]);
					for (ssize_t i = 0, w; i < n; i += w)
						if ((w = write(s, b + i, n - i)) < 0)
							return perror("write"), 1;
				}
			} else {
				a.svm_cid = VMADDR_CID_HOST;
				if (connect(s, (void *)&a, sizeof(a)))
					return perror("connect"), 1;
				if (write(s, argv[3], strlen(argv[3])) < 0 || shutdown(s, SHUT_WR))
					return perror("write"), 1;
				while ((n = read(s, b, sizeof(b))) > 0)
					fwrite(b, 1, n, stdout);
			}
			return 0;
		}
	C
	gcc -static -O1 -o "$SHARE/vsock" /scratch/vsock.c
	cat >/scratch/talk.py <<-'PYTHON'
		import socket, sys, threading
		directory, what, port = sys.argv[1:4]
		s = socket.socket(socket.AF_UNIX)
		if what == "listen":
		    s.bind(f"{directory}/vsock.sock_{port}")
		    s.listen()
		    print("listening", flush=True)
		    c = s.accept()[0]
		    data = b""
		    while part := c.recv(65536):
		        data += part
		    c.sendall(b"host heard " + data)
		else:
		    s.connect(f"{directory}/vsock.sock")
		    s.sendall(f"CONNECT {port}\n".encode())
		    f = s.makefile("rb")
		    line = f.readline()
		    assert line.startswith(b"OK "), line
		    sent = b"abcdefgh" * int(sys.argv[4])
		    threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR))).start()
		    got = f.read()
		    assert got == sent.upper(), (len(got), len(sent))
		    print("all", len(got))
	PYTHON
	machine_store
	caisson run -d --name box --isolation pv --init --security-opt seccomp=unconfined -v "$SHARE:/share" -v "$SHARE:/fixed:ro" \
		--annotation "org.caisson.vm.vsock=$SOCKETS" --annotation org.caisson.vm.engine=kvm box:1 sleep 10000
	eventually caisson exec box true
}

teardown_file()
{
	caisson rm -f box
}

@test "the agent's port carries what a terminal could not" {
	[ "$(head -c 300000 /dev/urandom | tee /scratch/random | caisson exec -i box sha256sum)" = "$(sha256sum </scratch/random)" ]
	caisson exec box dd if=/dev/urandom bs=64k count=20 >/scratch/random 2>/dev/null
	[ "$(stat -c %s /scratch/random)" = 1310720 ]
}

@test "entropy comes from the host" {
	# Its driver comes after the workload.
	eventually caisson exec box grep -q virtio_rng /sys/class/misc/hw_random/rng_current
}

@test "a shared directory: both sides see the other's files, and links lead nowhere" {
	[ "$(caisson exec box cat /share/file)" = "from the host" ]
	caisson exec box sh -c 'echo "from the guest" >/share/new && mkdir /share/d && mv /share/new /share/d/moved'
	[ "$(cat "$SHARE/d/moved")" = "from the guest" ]
	run ! caisson exec box sh -c 'cat /share/link'
	[[ $output != *root:* ]] || [ "$output" != "$(cat /etc/shadow)" ]
	caisson exec box sh -c 'dd if=/dev/urandom of=/share/big bs=64k count=32 2>/dev/null; sync; sha256sum </share/big' >/scratch/sum
	[ "$(cat /scratch/sum)" = "$(sha256sum <"$SHARE/big")" ]
	caisson exec box sh -c 'cd /share; for i in $(seq 100); do echo $i >n$i; done; [ $(ls | grep -c ^n) = 100 ]; rm n*'
	caisson exec box sh -c 'chown 7:8 /share/d/moved; chmod 640 /share/d/moved'
	[ "$(stat -c '%u %g %a' "$SHARE/d/moved")" = "7 8 640" ]
}

@test "a share that is read-only" {
	[ "$(caisson exec box cat /fixed/file)" = "from the host" ]
	run ! caisson exec box sh -c 'echo x >/fixed/file'
	[[ $output == *"Read-only"* ]]
}

@test "file servers have the capabilities that their guest's files take, and a filter" {
	local pid
	for pid in $(pgrep -x caisson-fs); do
		grep -q '^CapEff:.000000008000001b$' "/proc/$pid/status" # CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP
		grep -q '^Seccomp:.2$' "/proc/$pid/status"
		grep -q '^NoNewPrivs:.1$' "/proc/$pid/status"
		[ ! -e "/proc/$pid/root/etc" ]
	done
	[ -n "$pid" ]
}

@test "stream sockets from the host to the guest" {
	local listener
	caisson exec box /share/vsock listen 1234 >/scratch/listening 3>&- &
	listener=$!
	eventually grep -q listening /scratch/listening
	run -0 python3 /scratch/talk.py "$SOCKETS" connect 1234 100000
	[ "$output" = "all 800000" ]
	wait "$listener"
	# Nobody listens any more.
	run ! python3 /scratch/talk.py "$SOCKETS" connect 1234 1
}

@test "stream sockets from the guest to the host" {
	local listener
	run ! caisson exec box /share/vsock connect 80 x
	python3 /scratch/talk.py "$SOCKETS" listen 80 >/scratch/listening 3>&- &
	listener=$!
	eventually grep -q listening /scratch/listening
	run -0 caisson exec box /share/vsock connect 80 "the guest"
	[ "$output" = "host heard the guest" ]
	wait "$listener"
}

@test "pages that the guest has freed go back to the host" {
	local pid before
	pid=$(caisson inspect -f '{{.State.Pid}}' box)
	rss() { awk '/^Rss:/ { print $2 }' "/proc/$pid/smaps_rollup"; }
	caisson exec box sh -c 'dd if=/dev/zero of=/dev/shm/big bs=1M count=60 2>/dev/null'
	before=$(rss)
	caisson exec box rm /dev/shm/big
	smaller() { [ "$(rss)" -lt $((before - 30000)) ]; }
	eventually smaller
}

@test "nothing is left" {
	caisson stop -t 60 box
	[ ! -e "$SOCKETS/vsock.sock" ]
	caisson rm box
	run ! pgrep -x caisson-fs
}
