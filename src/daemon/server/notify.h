/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Socket activation and readiness as systemd does them, without its library: the environment
 * says it all (sd_listen_fds(3), sd_notify(3)). */
#ifndef KV_DAEMON_SERVER_NOTIFY_H
#define KV_DAEMON_SERVER_NOTIFY_H

/* How many descriptors from NOTIFY_FIRST_FD on were handed in; they are made close-on-exec. */
#define NOTIFY_FIRST_FD 3
unsigned notify_inherited_fds(void);

/* Tells the service manager, if there is one: "READY=1". */
void notify_state(const char *state);

#endif
