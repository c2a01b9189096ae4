/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys by name. */
#ifndef KV_CLI_KEYS_H
#define KV_CLI_KEYS_H

/* virKeycodeSet of "linux", "xt", ...; negative: there is none. */
int key_set(const char *name);
/* A number, or of the set linux a name of the kernel's ("KEY_A"). Negative: is none. */
int key_code(int set, const char *text);

#endif
