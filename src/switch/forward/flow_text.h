/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flow keys as text, for the log: "tcp 10.0.0.1:4000 > 10.0.0.2:22"; and names of their numbers. */
#ifndef KV_SWITCH_FORWARD_FLOW_TEXT_H
#define KV_SWITCH_FORWARD_FLOW_TEXT_H

#include "base/error.h"
#include "switch/forward/flow_key.h"

#define FLOW_TEXT_MAX 160

const char *flow_text(const struct flow_key *key, char text[FLOW_TEXT_MAX]);

/* By name or number. 0 or -EINVAL with err. */
int flow_type_parse(const char *text, int *type, struct kv_error *err);
int flow_protocol_parse(const char *text, int *protocol, struct kv_error *err);

#endif
