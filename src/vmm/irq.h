/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An interrupt line as a device sees it, whoever is at the other end. */
#ifndef KV_VMM_IRQ_H
#define KV_VMM_IRQ_H

#include <stdbool.h>

struct irq_line {
    void (*set)(void *opaque, unsigned gsi, bool high); /* NULL: not connected */
    void *opaque;
    unsigned gsi;
};

static inline void irq_set(const struct irq_line *line, bool high)
{
    if (line->set)
        line->set(line->opaque, line->gsi, high);
}

/* One edge. */
static inline void irq_pulse(const struct irq_line *line)
{
    irq_set(line, true);
    irq_set(line, false);
}

#endif
