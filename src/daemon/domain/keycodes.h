/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of keys by number, in the sets that libvirt's clients may use. */
#ifndef KV_DAEMON_DOMAIN_KEYCODES_H
#define KV_DAEMON_DOMAIN_KEYCODES_H

/* set: VIR_KEYCODE_SET_*. The number of libvirt's set "qnum"; 0: there is no such key. */
unsigned keycode_number(unsigned set, unsigned code);

/* "linux", ...; NULL: no such set. */
const char *keycode_set_name(unsigned set);

#endif
