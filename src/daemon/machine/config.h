/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files that fill a plan from a domain's document; see plan.h. Each returns 0 or a
 * negative number with err filled. */
#ifndef KV_DAEMON_MACHINE_CONFIG_H
#define KV_DAEMON_MACHINE_CONFIG_H

#include "daemon/machine/plan.h"
#include "model/domain.h"

int config_add_disk(struct plan *plan, const struct machine_start *start,
                    const struct model_disk *disk, unsigned boot_index, struct kv_error *err);
int config_add_nic(struct plan *plan, struct model_domain *domain, struct model_nic *nic,
                   unsigned boot_index, struct kv_error *err);
/* One device of those that come and go: a disk, an interface, random numbers. */
int config_add_device(struct plan *plan, const struct machine_start *start,
                      struct model_device *device, struct kv_error *err);
/* Serial ports, consoles and channels. */
int config_add_chardevs(struct plan *plan, struct model_domain *domain, struct kv_error *err);

/* Video, graphics and inputs; where viewers connect is written into the document. */
int config_add_screen(struct plan *plan, struct model_domain *domain, struct kv_error *err);
int config_add_smbios(struct plan *plan, const struct model_domain *domain, struct kv_error *err);
/* Behind the controllers that they are on. */
int config_add_inputs(struct plan *plan, const struct model_domain *domain, struct kv_error *err);

/* A socket at the first address of the host's that works: listening, or connected. Returns the
 * descriptor; -EADDRINUSE. */
int config_open_inet(const char *host, const char *service, int type, bool listens,
                     struct kv_error *err);

/* A file, opened for reading, as the monitor's path (new); what: for messages. */
int config_open_file(struct plan *plan, const char *what, const char *path, json_t **out,
                     struct kv_error *err);

/* Whether it has an image: a CD-ROM need not. */
bool config_has_medium(const struct model_disk *disk);
/* Its image, opened, as the monitor's path (new). */
int config_image_path(struct plan *plan, const struct machine_start *start,
                      const struct model_disk *disk, json_t **path, struct kv_error *err);

/* chain.c: an image with all that lies under it, opened; *out: its description for the monitor
 * (block/description.h), new. */
int chain_open(struct plan *plan, const struct machine_start *start,
               const struct model_image *image, bool readonly, json_t **out, struct kv_error *err);

/* The address that the document gives a device: "slot" of the monitor's options. */
void config_set_slot(json_t *options, const struct model_device *device);

/* Sets a member when there is something to set. */
void config_set_text(json_t *options, const char *name, const char *value);
void config_set_number(json_t *options, const char *name, uint64_t value);

/* The monitor numbers I/O threads from 1, in the order in which the domain lists them. */
void config_set_iothread(json_t *options, const struct model_domain *domain, unsigned id);

#endif
