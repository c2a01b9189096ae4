/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flow keys as text, for the log: "tcp 10.0.0.1:4000 > 10.0.0.2:22". */
#ifndef KV_SWITCH_FORWARD_FLOW_TEXT_H
#define KV_SWITCH_FORWARD_FLOW_TEXT_H

#include "switch/forward/flow_key.h"

#define FLOW_TEXT_MAX 160

const char *flow_text(const struct flow_key *key, char text[FLOW_TEXT_MAX]);

#endif
