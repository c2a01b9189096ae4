/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of each protocol that the switch looks into, for fuzz targets to change. */
#ifndef KV_TESTS_FUZZ_FRAME_TEMPLATES_H
#define KV_TESTS_FUZZ_FRAME_TEMPLATES_H

#include "flow_frames.h"

#define FRAME_TEMPLATES 13

extern struct packet frame_templates[FRAME_TEMPLATES];

void frame_templates_make(void);

#endif
