/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tty - pseudoterminals: pty(7), ioctl_tty(2), termios(3).
 *
 * A container's terminal is made in the container's own devpts, through a
 * descriptor of that file system, and its other end is taken from the master
 * by TIOCGPTPEER: no path like /dev/pts/0 is ever looked up, so nothing that
 * a container puts there is opened instead (CVE-2025-52565).
 */
#ifndef CAISSON_LINUX_TTY_H
#define CAISSON_LINUX_TTY_H

#if __has_include_next(<linux/tty.h>)
#include_next <linux/tty.h> /* hidden by this file */
#endif

#include <stdbool.h>
#include <termios.h>

#include "base/error.h"

/* Opens a new, unlocked terminal in the devpts whose root is pts_fd (verified to be a devpts).  Returns the master
 * (O_CLOEXEC | O_NOCTTY, owned by the caller). */
int tty_open(int pts_fd, struct error *err);

/* The other end of a master: O_RDWR | O_CLOEXEC | O_NOCTTY, owned by the caller.  Linux 4.13. */
int tty_open_peer(int master, struct error *err);

/* N of "/dev/pts/N" for a master; -errno. */
int tty_number(int master);

/* Window size in characters; -errno, no words. */
int tty_set_size(int fd, unsigned int rows, unsigned int columns);
int tty_get_size(int fd, unsigned int *rows, unsigned int *columns);

/* Makes terminal the controlling one of the calling process, which becomes a session leader if it is none. */
int tty_make_controlling(int terminal, struct error *err);

/* Sends a master through the AF_UNIX socket at path as runc does: one descriptor, its name as the data. */
int tty_send_master(const char *socket_path, int master, const char *name, struct error *err);

/* Output lines end in "\n" alone (ONLCR is cleared), as whoever reads them through a pipe expects; fd is either end. */
int tty_end_lines_plainly(int fd);

/* Switches output processing back on, which raw mode switched off. */
int tty_process_output(int fd);

/* Raw mode for the side that a person types on.  saved holds what tty_restore() puts back. */
int tty_make_raw(int fd, struct termios *saved, struct error *err);
int tty_restore(int fd, const struct termios *saved);

#endif
