/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flows; see flow_cache.h. */
#include "switch/monitor/flow_cache.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

int flow_cache_init(struct flow_cache *cache, unsigned size, struct kv_error *err)
{
    int rc = flow_secret_make(&cache->secret);
    cache->flows = calloc(size, sizeof(*cache->flows));
    cache->buckets = calloc(size, sizeof(*cache->buckets));
    if (rc < 0 || !cache->flows || !cache->buckets) {
        flow_cache_free(cache);
        return kv_error_errno(err, KV_ERR_NET, rc < 0 ? -rc : ENOMEM, "cache of flows");
    }
    cache->size = size;
    list_init(&cache->by_age);
    list_init(&cache->unused);
    for (unsigned i = 0; i < size; i++) {
        list_init(&cache->buckets[i]);
        list_init(&cache->flows[i].bucket);
        list_add_tail(&cache->unused, &cache->flows[i].node);
    }
    return 0;
}

void flow_cache_free(struct flow_cache *cache)
{
    free(cache->flows);
    free(cache->buckets);
    cache->flows = NULL;
    cache->buckets = NULL;
}

static void end(struct flow_cache *cache, struct flow *flow, enum flow_end why)
{
    cache->tell(cache->opaque, flow, why);
    list_del(&flow->bucket);
    list_del(&flow->node);
    list_add_tail(&cache->unused, &flow->node);
}

/* --- Frames ------------------------------------------------------------------ */

/* What a sample says. False: it is not of IP, or its headers are not whole. */
static bool read_sample(const struct sample *sample, struct flow_key *key,
                        struct flow_headers *headers)
{
    struct frame frame = {.vlan = sample->vlan, .tagged = sample->tagged};
    *headers = (struct flow_headers){.len = MIN(sample->len, FLOW_HEADERS_MAX),
                                     .frame_bytes = sample->frame_bytes};
    memcpy(headers->bytes, sample->bytes, headers->len);
    return flow_key_read(key, headers, &frame, 0) &&
           (key->type == FLOW_TYPE_IPV4 || key->type == FLOW_TYPE_IPV6);
}

static struct flow_id id_of(const struct sample *sample, const struct flow_key *key)
{
    struct flow_id id = {.in_port = sample->in_port,
                         .from_port = key->from_port,
                         .to_port = key->to_port,
                         .vlan = key->vlan,
                         .type = key->type,
                         .protocol = key->protocol,
                         .tos = key->tos};
    memcpy(id.from, key->from, sizeof(id.from));
    memcpy(id.to, key->to, sizeof(id.to));
    if (key->protocol == IPPROTO_ICMP || key->protocol == IPPROTO_ICMPV6) {
        id.from_port = 0;
        id.to_port = (uint16_t)(key->from_port << 8 | (key->to_port & 0xff));
    }
    return id;
}

static struct list *bucket_of(const struct flow_cache *cache, const struct flow_id *id)
{
    uint64_t words[sizeof(*id) / sizeof(uint64_t)], hash = 0;
    memcpy(words, id, sizeof(words));
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        hash = flow_hash_add(hash, words[i], &cache->secret);
    return &cache->buckets[hash % cache->size];
}

static struct flow *find(struct list *bucket, const struct flow_id *id)
{
    list_for_each (node, bucket) {
        struct flow *flow = list_entry(node, struct flow, bucket);
        if (memcmp(&flow->id, id, sizeof(*id)) == 0)
            return flow;
    }
    return NULL;
}

static struct flow *begin(struct flow_cache *cache, struct list *bucket, const struct flow_id *id,
                          int64_t now_ns)
{
    if (list_empty(&cache->unused))
        end(cache, list_entry(cache->by_age.next, struct flow, node), FLOW_NO_ROOM);
    struct flow *flow = list_entry(cache->unused.next, struct flow, node);
    list_del(&flow->node);
    *flow = (struct flow){.id = *id, .first_ns = now_ns};
    list_add_tail(bucket, &flow->bucket);
    list_init(&flow->node);
    return flow;
}

void flow_cache_add(struct flow_cache *cache, const struct sample *sample, int64_t now_ns)
{
    struct flow_key key;
    struct flow_headers headers;
    if (!read_sample(sample, &key, &headers))
        return;
    struct flow_id id = id_of(sample, &key);
    struct list *bucket = bucket_of(cache, &id);
    struct flow *flow = find(bucket, &id);
    if (!flow)
        flow = begin(cache, bucket, &id, now_ns);
    memcpy(flow->from_mac, key.from_mac, sizeof(flow->from_mac));
    memcpy(flow->to_mac, key.to_mac, sizeof(flow->to_mac));
    flow->out_port = sample->out & (SAMPLE_DROPPED | SAMPLE_FLOODED) ? 0 : sample->out;
    flow->tcp_flags |= (uint8_t)key.tcp_flags;
    flow->frames++;
    flow->bytes += headers.end - headers.l3;
    flow->last_ns = now_ns;
    list_del(&flow->node);
    list_add_tail(&cache->by_age, &flow->node);
}

/* --- Time ---------------------------------------------------------------------- */

void flow_cache_expire(struct flow_cache *cache, int64_t now_ns)
{
    list_for_each_safe (node, &cache->by_age) {
        struct flow *flow = list_entry(node, struct flow, node);
        if (now_ns - flow->last_ns >= cache->idle_ns)
            end(cache, flow, FLOW_IDLE);
        else if (now_ns - flow->first_ns >= cache->active_ns)
            end(cache, flow, FLOW_ACTIVE);
    }
}

void flow_cache_flush(struct flow_cache *cache)
{
    while (!list_empty(&cache->by_age))
        end(cache, list_entry(cache->by_age.next, struct flow, node), FLOW_FORCED);
}
