/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words for states of machines and why they have them. */
#ifndef KV_CLI_STATE_H
#define KV_CLI_STATE_H

const char *state_text(int state);
const char *state_reason_text(int state, int reason);

#endif
