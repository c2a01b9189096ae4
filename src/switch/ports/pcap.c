/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports with files at their end; see pcap.h. */
#include "switch/ports/pcap.h"

#include <byteswap.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "switch/ports/incoming.h"

#define MAGIC 0xa1b2c3d4U      /* times in microseconds */
#define MAGIC_NANO 0xa1b23c4dU /* in nanoseconds */
#define VERSION_MAJOR 2
#define VERSION_MINOR 4
#define LINKTYPE_ETHERNET 1
#define LINKTYPE_MASK 0x0fffffffU /* above it: of the frames' check sequences */

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t reserved[2];
    uint32_t snap_len, linktype;
};

struct record_header {
    uint32_t seconds, fraction;
    uint32_t captured, len; /* bytes that are in the file, that there were */
};

struct pcap_port {
    struct port port;
    FILE *in, *out; /* NULL: none */
    bool swapped;   /* in has the other byte order */
    bool at_end;    /* of in, or it cannot be read any further */
};

/* Among inherited descriptors. */
#define READS "pcap-read"
#define WRITES "pcap-write"

static const struct port_ops pcap_port_ops;

static struct pcap_port *pcap_of(struct port *port)
{
    return container_of(port, struct pcap_port, port);
}

static uint32_t number(const struct pcap_port *pcap, uint32_t stored)
{
    return pcap->swapped ? bswap_32(stored) : stored;
}

static int open_in(struct pcap_port *pcap, const char *path, struct kv_error *err)
{
    struct file_header header;
    pcap->in = fopen(path, "rbe");
    if (!pcap->in)
        return kv_error_errno(err, KV_ERR_NET, errno, "'%s'", path);
    if (fread(&header, sizeof(header), 1, pcap->in) != 1)
        return kv_error_set(err, KV_ERR_NET, EINVAL, "'%s': shorter than a pcap file's header",
                            path);
    pcap->swapped = header.magic == bswap_32(MAGIC) || header.magic == bswap_32(MAGIC_NANO);
    uint32_t magic = number(pcap, header.magic);
    if (magic != MAGIC && magic != MAGIC_NANO)
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "'%s' begins with 0x%08x; pcap files (0x%08x, 0x%08x) are accepted",
                            path, magic, MAGIC, MAGIC_NANO);
    uint32_t linktype = number(pcap, header.linktype) & LINKTYPE_MASK;
    if (linktype != LINKTYPE_ETHERNET)
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "'%s': frames of link type %u; Ethernet (%u) is accepted", path,
                            linktype, LINKTYPE_ETHERNET);
    return 0;
}

static int open_out(struct pcap_port *pcap, const char *path, struct kv_error *err)
{
    const struct file_header header = {
        .magic = MAGIC_NANO,
        .major = VERSION_MAJOR,
        .minor = VERSION_MINOR,
        .snap_len = FRAME_BYTES_MAX + FRAME_TAG_LEN,
        .linktype = LINKTYPE_ETHERNET,
    };
    pcap->out = fopen(path, "wbe");
    if (!pcap->out || fwrite(&header, sizeof(header), 1, pcap->out) != 1 || fflush(pcap->out) != 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "'%s'", path);
    return 0;
}

/* A file that goes on where the last process was; NULL: there is none. */
static FILE *inherit(const char *kind, const char *name, const char *mode)
{
    int fd = inherited_take(kind, name);
    FILE *file = fd >= 0 ? fdopen(fd, mode) : NULL;
    if (fd >= 0 && !file)
        close(fd);
    return file;
}

struct port *pcap_port_new(const char *name, const char *read_from, const char *write_to,
                           struct kv_error *err)
{
    struct pcap_port *pcap = calloc(1, sizeof(*pcap));
    if (!pcap) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "pcap port");
        return NULL;
    }
    pcap->port.ops = &pcap_port_ops;
    pcap->at_end = !read_from;
    pcap->in = read_from ? inherit(READS, name, "rbe") : NULL;
    pcap->out = write_to ? inherit(WRITES, name, "wbe") : NULL;
    if ((read_from && !pcap->in && open_in(pcap, read_from, err) < 0) ||
        (write_to && !pcap->out && open_out(pcap, write_to, err) < 0)) {
        pcap_port_free(&pcap->port);
        return NULL;
    }
    return &pcap->port;
}

void pcap_port_free(struct port *port)
{
    struct pcap_port *pcap = pcap_of(port);
    if (pcap->in)
        fclose(pcap->in);
    if (pcap->out)
        fclose(pcap->out);
    free(pcap);
}

json_t *pcap_port_give(const struct port *port, struct bequest *bequest)
{
    const struct pcap_port *pcap = container_of(port, struct pcap_port, port);
    if (pcap->in) {
        fflush(pcap->in); /* the descriptor's position becomes the stream's */
        bequest_add_named(bequest, READS, port->name, fileno(pcap->in));
    }
    if (pcap->out)
        bequest_add_named(bequest, WRITES, port->name, fileno(pcap->out));
    return json_pack("{s:b, s:b}", "swapped", pcap->swapped, "at-end", pcap->at_end);
}

void pcap_port_take(struct port *port, const json_t *state)
{
    struct pcap_port *pcap = pcap_of(port);
    pcap->swapped = json_is_true(json_object_get(state, "swapped"));
    pcap->at_end = json_is_true(json_object_get(state, "at-end"));
}

static int pcap_start(struct port *port)
{
    port->up = true;
    return 0;
}

static void pcap_stop(struct port *port)
{
    port->up = false;
}

/* Into the room, behind a virtio header that says nothing. The frame's length, 0 at the end, or
 * what is wrong. */
static ssize_t read_frame(struct pcap_port *pcap, uint8_t *room)
{
    struct record_header record;
    size_t n = fread(&record, 1, sizeof(record), pcap->in);
    if (n == 0)
        return 0;
    uint32_t len = number(pcap, record.captured);
    if (n < sizeof(record) || len == 0 || len > FRAME_BYTES_MAX)
        return -EINVAL;
    memset(room, 0, INCOMING_HEADER);
    return fread(room + INCOMING_HEADER, len, 1, pcap->in) == 1 ? (ssize_t)len : -EINVAL;
}

static bool pcap_poll(struct port *port)
{
    struct pcap_port *pcap = pcap_of(port);
    bool worked = false;
    uint8_t *room;
    incoming_begin(port);
    while (!pcap->at_end && (room = incoming_room())) {
        ssize_t len = read_frame(pcap, room);
        if (len < 0)
            log_warning("port '%s': its file is cut short or has a frame of more than %d bytes",
                        port->name, FRAME_BYTES_MAX);
        pcap->at_end = len <= 0;
        if (len > 0)
            incoming_add(INCOMING_HEADER + (size_t)len, NULL);
        worked |= len > 0;
    }
    incoming_deliver();
    return worked;
}

static bool write_frame(struct port *port, const struct frame *frame, const struct timespec *now)
{
    FILE *out = pcap_of(port)->out;
    uint8_t head[FRAME_HEAD_MAX];
    unsigned head_len = frame_write_head(frame, port_sends_tagged(port, frame), head);
    uint32_t len = head_len + frame->rest_bytes;
    const struct record_header record = {(uint32_t)now->tv_sec, (uint32_t)now->tv_nsec, len, len};
    bool written =
        fwrite(&record, sizeof(record), 1, out) == 1 && fwrite(head, head_len, 1, out) == 1;
    for (unsigned i = 0; i < frame->rest_count && written; i++) {
        size_t part = frame->rest[i].iov_len;
        written = fwrite(frame->rest[i].iov_base, 1, part, out) == part;
    }
    port->counters.out_bytes += len;
    return written;
}

static void pcap_send(struct port *port, const struct frame *frames)
{
    struct pcap_port *pcap = pcap_of(port);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    unsigned sent = 0;
    while (pcap->out && sent < port->pending_count &&
           write_frame(port, &frames[port->pending[sent]], &now))
        sent++;
    port->counters.out_frames += sent;
    port->counters.drops[DROP_DOWN] += port->pending_count - sent;
    /* What a reader finds ends with a whole frame. */
    if (pcap->out && (fflush(pcap->out) != 0 || sent < port->pending_count)) {
        log_warning("port '%s': its file cannot be written any further", port->name);
        fclose(pcap->out);
        pcap->out = NULL;
    }
}

static enum port_sleep pcap_sleep(struct port *port)
{
    return pcap_of(port)->at_end ? PORT_ASLEEP : PORT_HAS_WORK;
}

static void pcap_wake(struct port *port)
{
}

static const struct port_ops pcap_port_ops = {
    .start = pcap_start,
    .stop = pcap_stop,
    .poll = pcap_poll,
    .send = pcap_send,
    .sleep = pcap_sleep,
    .wake = pcap_wake,
};
