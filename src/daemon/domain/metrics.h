/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The domains' page of metrics; see daemon/metrics/metrics.h. */
#ifndef KV_DAEMON_DOMAIN_METRICS_H
#define KV_DAEMON_DOMAIN_METRICS_H

#include "daemon/metrics/metrics.h"

/* opaque: struct domains. */
metrics_page_fn domain_metrics_page;

#endif
