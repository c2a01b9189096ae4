/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A USB device as its controller sees it: control requests (USB 2.0, 9.3) and
 * interrupt transfers towards the host, all answered at once. The controller
 * (xhci.c) calls on its loop; a device that has news calls wake, any thread.
 */
#ifndef KV_VMM_USB_USB_H
#define KV_VMM_USB_USB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/display/input.h"

#define USB_CONTROL_MAX 512 /* bytes of a control request's data */
#define USB_REPORT_MAX 8    /* bytes of an interrupt transfer */

/* A request's first stage (9.3). */
struct usb_setup {
    uint8_t request_type, request;
    uint16_t value, index, length;
};
#define USB_TO_HOST 0x80

struct usb_device;

struct usb_device_ops {
    void (*reset)(struct usb_device *dev);
    /* len bytes of data came with it; what goes to the host is written there, up to
     * USB_CONTROL_MAX. How much, or -EPIPE: the request is refused. */
    int (*control)(struct usb_device *dev, const struct usb_setup *setup, uint8_t *data,
                   unsigned len);
    /* What the endpoint has for the host now: bytes, 0 for nothing, -EPIPE: no such endpoint. */
    int (*interrupt)(struct usb_device *dev, unsigned endpoint, uint8_t data[USB_REPORT_MAX]);
    json_t *(*save)(struct usb_device *dev);
    bool (*load)(struct usb_device *dev, const json_t *state);
    void (*free)(struct usb_device *dev);
};

struct usb_device {
    const struct usb_device_ops *ops;
    void (*wake)(void *opaque, unsigned port); /* set by the controller */
    void *wake_opaque;
    unsigned port;
};

/* hid.c: a keyboard, a mouse or a tablet (HID 1.11); NULL: out of memory. */
struct usb_device *usb_hid_create(enum input_type type);
const struct input_sink *usb_hid_sink(struct usb_device *dev);

#endif
