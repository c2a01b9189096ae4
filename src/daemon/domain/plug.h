/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come to a running domain and leave it, as steps of an edit (edit.h). */
#ifndef KV_DAEMON_DOMAIN_PLUG_H
#define KV_DAEMON_DOMAIN_PLUG_H

#include "daemon/domain/edit.h"

/* One that comes or goes; zero: nothing does. */
struct domain_plug {
    struct model_domain *model;  /* the changed live document, not yet in its place */
    struct model_device *device; /* of it, when it comes */
    char alias[64];
    int event; /* VIR_DOMAIN_EVENT_ID_DEVICE_..., once that happened; 0: it did not */
};

/* VIR_ERR_OPERATION_UNSUPPORTED for what can only be changed while the domain is off. */
int plug_into_document(struct model_domain *model, struct domain_plug *plug, const char *xml,
                       struct kv_error *err);
int plug_into_machine(struct machine *machine, struct domain_plug *plug, struct kv_error *err);
int unplug_from_document(struct model_domain *model, struct domain_plug *plug,
                         struct model_device *device, struct kv_error *err);
int unplug_from_machine(struct machine *machine, struct domain_plug *plug, struct kv_error *err);

#endif
