/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verdicts that are kept; see verdicts.h. */
#include "switch/forward/verdicts.h"

#include <errno.h>
#include <stdlib.h>

#include "base/prefetch.h"
#include "base/util.h"

#define REFUSED_MAX 7

struct verdict_cache *verdict_cache_new(struct kv_error *err)
{
    struct verdict_cache *cache = calloc(1, sizeof(*cache));
    int rc = cache ? 0 : -ENOMEM;
    for (unsigned i = 0; rc == 0 && i < FLOW_SHAPE_VECTORS; i++)
        rc = flow_secret_make(&cache->secrets[i]);
    if (rc == 0) {
        cache->sets = aligned_alloc(CACHE_LINE, VERDICT_SETS * sizeof(*cache->sets));
        rc = cache->sets ? 0 : -ENOMEM;
    }
    if (rc < 0) {
        verdict_cache_free(cache);
        kv_error_errno(err, KV_ERR_NET, -rc, "verdicts that are kept");
        return NULL;
    }
    memset(cache->sets, 0, VERDICT_SETS * sizeof(*cache->sets));
    return cache;
}

void verdict_cache_free(struct verdict_cache *cache)
{
    if (!cache)
        return;
    free(cache->sets);
    free(cache);
}

/* --- Before the burst is decided on ------------------------------------------ */

/* The two places where the verdict of such a frame may lie. */
static struct kept_verdict *places_of(const struct verdict_cache *cache,
                                      const struct flow_masked *masked, unsigned in_port)
{
    uint64_t hash = in_port;
    /* The vectors' hashes do not wait for each other. */
    for (unsigned i = 0; i < FLOW_SHAPE_VECTORS; i++)
        hash += flow_hash_add(masked->vectors[i][0], masked->vectors[i][1], &cache->secrets[i]);
    hash = flow_hash_add(hash, 0, &cache->secrets[0]);
    return cache->sets[hash % VERDICT_SETS];
}

/* Short frames of one length that come one after the other are compared on their way into the copy.
 * The rest's first and last 32 bytes are taken, which overlap; these are what they have to be. */
struct short_run {
    uint32_t len; /* of the rest; 0: there is no run */
    const struct flow_shape *shape;
    flow_vector head, care[4], as[4];
};

static inline flow_vector load(const uint8_t *from)
{
    flow_vector vector;
    memcpy(&vector, from, sizeof(vector));
    return vector;
}

/* The run that the frame, which was kept, begins. The lengths, which are not cared for else, have
 * to be the same, too. */
static void begin_run(struct short_run *run, const struct flow_headers *headers)
{
    const struct flow_shape *shape = headers->shape;
    uint32_t len = headers->frame_bytes - FRAME_HEAD;
    uint8_t care[FLOW_SHAPE_BYTES];
    run->len = len >= 32 && len <= 64 ? len : 0;
    if (!run->len)
        return;
    memcpy(care, shape->care, sizeof(care));
    care[shape->len_at] = care[shape->len_at + 1] = 0xff;
    const unsigned offsets[4] = {0, 16, len - 32, len - 16};
    for (unsigned i = 0; i < 4; i++) {
        run->care[i] = load(care + FRAME_HEAD + offsets[i]);
        run->as[i] = load(headers->bytes + FRAME_HEAD + offsets[i]) & run->care[i];
    }
    run->head = load(headers->bytes);
    run->shape = shape;
}

/* Keeps the frame's headers if it goes on with the run; else changes nothing. */
static inline bool goes_on(const struct short_run *run, struct flow_headers *headers,
                           struct frame *frame)
{
    uint32_t len = frame->rest_bytes;
    if (len != run->len || frame->rest_count != 1)
        return false;
    const uint8_t *from = frame->rest->iov_base;
    uint8_t *to = headers->bytes + FRAME_HEAD;
    flow_vector head = load(frame->head), a = load(from), b = load(from + 16),
                c = load(from + len - 32), d = load(from + len - 16);
    /* The sender may write there: what is compared is what is kept, and is not read again. */
    __asm__ volatile("" ::: "memory");
    flow_vector differ = (head ^ run->head) | ((a & run->care[0]) ^ run->as[0]) |
                         ((b & run->care[1]) ^ run->as[1]) | ((c & run->care[2]) ^ run->as[2]) |
                         ((d & run->care[3]) ^ run->as[3]);
    if (differ[0] | differ[1])
        return false;
    memcpy(headers->bytes, &head, sizeof(head));
    memcpy(to, &a, sizeof(a));
    memcpy(to + 16, &b, sizeof(b));
    memcpy(to + len - 32, &c, sizeof(c));
    memcpy(to + len - 16, &d, sizeof(d));
    headers->len = (uint16_t)(FRAME_HEAD + len);
    headers->frame_bytes = FRAME_HEAD + len;
    headers->shape = run->shape;
    frame->one = (struct iovec){to, len};
    frame->rest = &frame->one;
    return true;
}

void verdicts_prepare(struct verdict_cache *cache, struct flow_burst *burst, unsigned in_port,
                      struct frame *frames, unsigned count)
{
    const struct flow_shape *shape = NULL;
    struct kept_verdict *places = NULL;
    struct flow_masked masked;
    struct short_run run = {0};
    for (unsigned i = 0; i < count; i++) {
        struct flow_headers *headers = &burst->headers[i];
        cache->repeats[i] = true;
        cache->places[i] = places;
        if (goes_on(&run, headers, &frames[i]))
            continue;
        flow_headers_begin(burst, i, &frames[i]);
        cache->repeats[i] = shape && flow_headers_repeat(headers, shape, &masked);
        if (!cache->repeats[i]) {
            shape = flow_shape_of(headers);
            places = NULL;
            if (shape) {
                flow_headers_mask(&masked, headers, shape);
                places = places_of(cache, &masked, in_port);
                prefetch_read(&places[0]);
                prefetch_read(&places[1]);
            }
        }
        cache->places[i] = places;
        headers->shape = shape;
        flow_headers_end(burst, i, &frames[i]);
        /* Where two are alike, there will be more. */
        run.len = 0;
        if (cache->repeats[i])
            begin_run(&run, headers);
    }
}

/* --- Finding, keeping ---------------------------------------------------------- */

static bool has_connections(const struct kept_verdict *kept)
{
    for (unsigned d = 0; d < FILTER_DIRECTIONS; d++) {
        if (kept->connections[d] && kept->connections[d]->version != kept->versions[d])
            return false;
    }
    return true;
}

bool verdicts_find(const struct verdict_cache *cache, const struct flow_burst *burst, unsigned i,
                   const struct port *from, struct verdict *v)
{
    const struct kept_verdict *place = cache->places[i];
    const struct flow_headers *headers = &burst->headers[i];
    uint64_t stamp = verdict_stamp(from->bridge);
    for (unsigned way = 0; place && way < 2; way++) {
        const struct kept_verdict *kept = &place[way];
        if (kept->stamp != stamp || kept->shape != headers->shape || kept->in_port != from->index ||
            !flow_headers_are(headers, kept->shape, &kept->masked) || !has_connections(kept))
            continue;
        v->again = SAME_HEADERS;
        v->admitted = kept->admitted;
        v->flood = false;
        v->drop = kept->drop;
        v->why = kept->why;
        v->port = kept->port;
        v->vlan = kept->vlan;
        v->tagged = kept->tagged;
        v->service = kept->service;
        v->in.rule = kept->rules[FILTER_IN];
        v->out.rule = kept->rules[FILTER_OUT];
        return true;
    }
    return false;
}

/* Where it may lie: a place of one that counts no more. Another one's only now and then, as with
 * more flows than places hardly any verdict is found again, and keeping it costs more than it
 * brings; NULL. */
static struct kept_verdict *choose(struct verdict_cache *cache, struct kept_verdict *places,
                                   uint64_t stamp)
{
    for (unsigned way = 0; way < 2; way++) {
        if (places[way].stamp != stamp)
            return &places[way];
    }
    if (++cache->refused < REFUSED_MAX)
        return NULL;
    cache->refused = 0;
    return &places[stamp & 1];
}

void verdicts_keep(struct verdict_cache *cache, const struct flow_burst *burst, unsigned i,
                   const struct port *from, const struct verdict *v, uint64_t stamp)
{
    const struct filter_verdict *filters[FILTER_DIRECTIONS] = {&v->in, &v->out};
    const struct flow_headers *headers = &burst->headers[i];
    if (!cache->places[i] || filter_is_single(&v->in) || filter_is_single(&v->out))
        return;
    struct kept_verdict *kept = choose(cache, cache->places[i], stamp);
    if (!kept)
        return;
    *kept = (struct kept_verdict){
        .stamp = stamp,
        .shape = headers->shape,
        .port = v->port,
        .in_port = from->index,
        .vlan = v->vlan,
        .why = (uint8_t)v->why,
        .admitted = v->admitted,
        .drop = v->drop,
        .tagged = v->tagged,
        .service = v->service,
    };
    flow_headers_mask(&kept->masked, headers, headers->shape);
    for (unsigned d = 0; d < FILTER_DIRECTIONS; d++) {
        kept->rules[d] = filters[d]->rule;
        kept->connections[d] = filters[d]->connection;
        kept->versions[d] = filters[d]->connection ? filters[d]->connection->version : 0;
    }
}
