/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of disks and network cards. */
#include <pthread.h>
#include <signal.h>

#include "paradigm/vm/machine/private.h"

enum { STACK = 256 << 10 };

static void *io_main(void *context)
{
	struct machine *machine = context;
	struct error err = ERROR_INIT;

	(void)pthread_setname_np(pthread_self(), "io");
	if (machine->thread)
		machine->thread(MACHINE_THREAD_IO);
	if (loop_run(&machine->io.loop, &err) < 0)
		machine_finish(machine, MACHINE_CRASHED, 0, "disks and network: %s", err.text);
	return NULL;
}

int io_open(struct machine *machine, struct error *err)
{
	int result = loop_open(&machine->io.loop, err);

	machine->io.open = result == 0;
	return result;
}

int io_start(struct machine *machine, struct error *err)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int code;

	if (machine->io.started)
		return 0;
	code = pthread_attr_init(&attributes);
	if (code == 0)
		code = pthread_attr_setstacksize(&attributes, STACK);
	if (code == 0) {
		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &before);
		/* Before the thread has come as far as its loop, devices are no longer ours: they are asked by orders.
		 */
		loop_hand_over(&machine->io.loop);
		code = pthread_create(&machine->io.thread, &attributes, io_main, machine);
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	(void)pthread_attr_destroy(&attributes);
	if (code)
		return error_errno(err, code, "start the thread of disks and network");
	machine->io.started = true;
	return 0;
}

void io_stop(struct machine *machine)
{
	if (!machine->io.started)
		return;
	loop_stop(&machine->io.loop);
	(void)pthread_join(machine->io.thread, NULL);
	machine->io.started = false;
}

void io_close(struct machine *machine)
{
	if (machine->io.open)
		loop_close(&machine->io.loop);
	machine->io.open = false;
}
