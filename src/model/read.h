/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a domain's document into its view (private to src/model). Each read_*() fills its part of
 * the view, checks values with libvirt's codes and texts, and puts defaults and libvirt's
 * spelling into the document on the way, so that reading twice changes nothing.
 */
#ifndef KV_MODEL_READ_H
#define KV_MODEL_READ_H

#include "model/api_error.h"
#include "model/domain.h"
#include "model/element.h"
#include "model/xml.h"

struct read {
    struct model_domain *d;
    xmlNode *root, *devices;
    unsigned flags; /* enum model_parse_flags */
    unsigned left_out_capacity, device_capacity;
    struct kv_error *err;
};

/* Memory that lives as long as the view; zeroed. NULL: memory. */
void *arena_alloc(struct model_arena *arena, size_t size);
char *arena_printf(struct model_arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct model_arena *arena_new(void);
void arena_free(struct model_arena *arena);

int read_no_memory(struct read *r);

/* VIR_ERR_XML_ERROR / VIR_ERR_CONFIG_UNSUPPORTED of VIR_FROM_DOMAIN, as most of libvirt's checks.
 */
int read_xml_error(struct read *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int read_unsupported(struct read *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* VIR_ERR_CONFIG_UNSUPPORTED "PATH/@ATTRIBUTE: ..." (attribute may be NULL); 0 with
 * MODEL_PARSE_STORED, where it is remembered in the view instead. */
int read_refuse(struct read *r, const xmlNode *node, const char *attribute, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Notes that the guest runs without node. */
int read_left_out(struct read *r, const xmlNode *node, const char *why);

/* Attributes; each leaves *out alone when the attribute is missing. The errors are libvirt's
 * "Invalid value for attribute ...". node may be NULL: nothing is read. */
int read_choice(struct read *r, const xmlNode *node, const char *name, const char *const *values,
                const char **out);
int read_uint(struct read *r, const xmlNode *node, const char *name, unsigned *out);
int read_positive(struct read *r, const xmlNode *node, const char *name, unsigned *out);
int read_u64(struct read *r, const xmlNode *node, const char *name, uint64_t *out);
int read_switch(struct read *r, const xmlNode *node, const char *name, enum model_switch *out);
int read_yes_no(struct read *r, const xmlNode *node, const char *name, bool *out);
/* <reconnect enabled='yes' timeout='SECONDS'/> of a <source>; untouched when there is none, 0:
 * never. */
int read_reconnect(struct read *r, const xmlNode *source, unsigned *seconds);

/* Text of a child as a number of at most max; *out alone when the child is missing. what: the
 * message when it is no number. */
int read_child_number(struct read *r, const xmlNode *node, const char *child, uint64_t max,
                      const char *what, uint64_t *out);

/* Size with a unit (libvirt's: KiB when none is given) to KiB, rounded up; written back as KiB. */
int read_size_kib(struct read *r, xmlNode *node, uint64_t *kib);
int read_scale(struct read *r, const char *unit, uint64_t value, uint64_t *bytes);

/* A list of numbers below 4096 such as "0-3,^2": written back in its shortest form. */
int read_cpuset(struct read *r, xmlNode *node, const char *name, const char **out);

bool read_is_one_of(const char *text, const char *const *values);

/* Sets an attribute; the order is made right when all is read. */
int read_set(struct read *r, xmlNode *node, const char *name, const char *value);

/* Parts of the document, in this order. */
int read_general(struct read *r); /* name ... description */
int read_memory(struct read *r);
int read_vcpus(struct read *r);  /* vcpu, iothreads, cputune, numatune */
int read_tuning(struct read *r); /* cputune, numatune, memtune, blkiotune, resource */
int read_os(struct read *r);
int read_smbios(struct read *r, const xmlNode *os); /* with <sysinfo> */
int read_features(struct read *r);
int read_hyperv(struct read *r, const xmlNode *node);
int read_cpu(struct read *r);
int read_clock(struct read *r); /* clock, on_*, pm */
int read_seclabels(struct read *r);
int read_devices(struct read *r);

/* Parts of read_devices(). */
int read_device_common(struct read *r, xmlNode *node, enum model_device_kind kind,
                       struct model_device *device);
int read_disk(struct read *r, xmlNode *node, struct model_disk *disk);
int read_disks_together(struct read *r);
int read_nic(struct read *r, xmlNode *node, struct model_nic *nic);
int read_chardev(struct read *r, xmlNode *node, struct model_chardev *chardev);
int read_controller(struct read *r, xmlNode *node, struct model_controller *controller);
int read_rng(struct read *r, xmlNode *node, struct model_rng *rng);
int read_panic(struct read *r, xmlNode *node, struct model_panic *panic);
int read_memballoon(struct read *r, xmlNode *node, struct model_memballoon *balloon);
int read_tpm(struct read *r, xmlNode *node, struct model_tpm *tpm);
int read_watchdog(struct read *r, xmlNode *node, struct model_watchdog *watchdog);
int read_vsock(struct read *r, xmlNode *node, struct model_vsock *vsock);
int read_graphics(struct read *r, xmlNode *node, struct model_graphics *graphics);
int read_video(struct read *r, xmlNode *node, struct model_video *video);
int read_input(struct read *r, xmlNode *node, struct model_input *input);
/* The screen and viewers together. */
int read_screen(struct read *r);
int read_carried(struct read *r, xmlNode *node);

/* Devices that libvirt adds, consoles that pair with serial ports; before the view. */
int complete_devices(struct read *r);
int complete_screen(struct read *r);
/* Whether a document's guest has a screen. */
bool screen_is_there(const xmlNode *devices);
/* Whether an <input>, or one of those at USB controller index, is on a controller that the machine
 * has (device_controller.c). */
bool usb_input_is_there(const xmlNode *devices, const xmlNode *input);
bool usb_inputs_are_there(const xmlNode *devices, unsigned index);
/* Addresses for the devices of the view that need and lack one, and checks of those they have. */
int assign_addresses(struct read *r);
/* Aliases of a live document. */
int assign_aliases(struct read *r);

/* Reads the whole view anew from the document, within domain->arena. */
int domain_read(struct model_domain *domain, unsigned flags, struct kv_error *err);

/* Takes out of the document what only a live domain has. */
void domain_strip_live(xmlNode *root);
/* And the devices that the guest runs without. */
void domain_strip_left_out(xmlNode *root);

/* "vdb": 1, "nvme1n2": 17 (of 16 a controller); what is not a disk's name: 0. */
unsigned disk_index(const char *target);

/* Disks that are at a controller, by their bus (address_drive.c); name NULL: not so. */
struct drive_bus {
    const char *name;              /* of the bus, and the controller's type */
    unsigned disks;                /* of a controller, when names alone say where they are */
    unsigned target_max, unit_max; /* of an address */
    const char *model;             /* of a controller that is added, or NULL */
};
extern const struct drive_bus drive_buses[MODEL_DISK_BUSES];

/* Of a disk whose document does not say it: by its name. */
const char *disk_default_bus(const char *target);
/* The controller of the bus that a <disk> is at, by its address or by its name's place; -1: none.
 */
int disk_controller(const xmlNode *disk, const struct drive_bus *bus);
/* Addresses of drives that lack one, and checks of those that have. */
int assign_drives(struct read *r);
/* An <iothread> that was asked for is there. */
int check_iothread(struct read *r, const char *what, unsigned iothread);

#define CONTROLLERS_MAX 1024 /* of a type; more elements are refused earlier */

#endif
