/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 inside: what the files qcow2_*.c share. The format is QEMU's
 * docs/interop/qcow2.rst ("spec" in comments), versions 2 and 3.
 *
 * Locks, outermost first:
 *   gate   read: every request that works on clusters; write: what needs the
 *          image for itself (snapshot, resize, check, amend, close);
 *   flush_lock   struct qcow2_flush: one write-back of metadata at a time; not held while it runs;
 *   lock   all of the fields below that say so, the caches, refcounts, L1, L2.
 *          Held for work in memory; refcount blocks are read and evicted under
 *          it, L2 slices are read with it dropped (see qcow2_l2_get()).
 *
 * What reaches the file in which order (qcow2_flush.c), so that a power cut at
 * any point leaves at worst leaked clusters:
 *   refcount blocks, refcount table | L2 slices | L1 entries | freed clusters
 * each "|" a barrier that is only paid when both sides have something. Freed
 * clusters keep their refcount until nothing on disk points to them and no
 * request that began before may touch them (epochs, qcow2_enter()).
 */
#ifndef KV_BLOCK_QCOW2_H
#define KV_BLOCK_QCOW2_H

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/util.h"
#include "block/driver.h"

/* ------------------------------------------------------------ the format */

#define QCOW2_MAGIC UINT32_C(0x514649fb)
#define QCOW2_V2_HEADER 72u
#define QCOW2_V3_HEADER 104u
#define QCOW2_MIN_CLUSTER_BITS 9u
#define QCOW2_MAX_CLUSTER_BITS 21u
#define QCOW2_MIN_EXT_L2_CLUSTER_BITS 14u
#define QCOW2_MAX_L1_BYTES MIB(32)
#define QCOW2_MAX_REFTABLE_BYTES MIB(8)
#define QCOW2_MAX_SNAPSHOTS 65536u
#define QCOW2_MAX_SNAPSHOT_TABLE MIB(16)
#define QCOW2_MAX_BACKING_NAME 1023u
#define QCOW2_SUBCLUSTERS 32u

enum { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };
enum { QCOW2_COMPRESSION_ZLIB, QCOW2_COMPRESSION_ZSTD };

#define QCOW2_INCOMPAT_DIRTY BIT(0)
#define QCOW2_INCOMPAT_CORRUPT BIT(1)
#define QCOW2_INCOMPAT_DATA_FILE BIT(2)
#define QCOW2_INCOMPAT_COMPRESSION BIT(3)
#define QCOW2_INCOMPAT_EXT_L2 BIT(4)
#define QCOW2_INCOMPAT_KNOWN UINT64_C(0x1f)
#define QCOW2_COMPAT_LAZY_REFCOUNTS BIT(0)
#define QCOW2_AUTOCLEAR_BITMAPS BIT(0)
#define QCOW2_AUTOCLEAR_RAW_DATA BIT(1)

#define QCOW2_EXT_END UINT32_C(0)
#define QCOW2_EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_EXT_FEATURE_NAMES UINT32_C(0x6803f857)
#define QCOW2_EXT_BITMAPS UINT32_C(0x23852875)
#define QCOW2_EXT_CRYPTO UINT32_C(0x0537be77)
#define QCOW2_EXT_DATA_FILE UINT32_C(0x44415441)

/* L1, L2 and refcount table entries. */
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_REFTABLE_MASK UINT64_C(0xfffffffffffffe00)
#define QCOW2_L1_RESERVED UINT64_C(0x7f000000000001ff)
#define QCOW2_L2_RESERVED UINT64_C(0x3f000000000001fe) /* of standard clusters */
#define QCOW2_COPIED BIT(63)                           /* refcount is exactly one */
#define QCOW2_COMPRESSED BIT(62)
#define QCOW2_ZERO BIT(0)
/* Above this no host cluster can lie (56 bits). */
#define QCOW2_MAX_HOST_OFFSET (BIT(56) - 1)

struct qcow2_header {
    uint32_t version; /* 2 or 3 */
    uint64_t backing_offset;
    uint32_t backing_size;
    uint32_t cluster_bits;
    uint64_t size; /* virtual, bytes */
    uint32_t crypt_method;
    uint32_t l1_size; /* entries */
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear; /* version 2: 0 */
    uint32_t refcount_order;                      /* version 2: 4 */
    uint32_t length;                              /* version 2: 72 */
    uint8_t compression_type;
};

/* A header extension that is kept as it is (unknown to us). */
struct qcow2_extension {
    uint32_t type, len;
    uint8_t *data;
};

struct qcow2_snapshot {
    uint64_t l1_offset;
    uint32_t l1_size; /* entries */
    char *id, *name;  /* allocated, terminated */
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t vm_state_size;
    uint64_t disk_size; /* bytes */
    uint64_t icount;    /* UINT64_MAX: not said */
    uint8_t *extra;     /* beyond the known extra data, kept */
    uint32_t extra_len;
};

/* ----------------------------------------------------------------- state */

/*
 * Metadata is cached in slices: pieces of L2 tables or refcount blocks of
 * slice_size bytes, aligned to it in the file, in the file's byte order.
 */
struct qcow2_slice {
    struct list lru;           /* in the cache's lru, most recent at the tail */
    struct qcow2_slice *chain; /* of the hash */
    uint64_t offset;           /* in the file */
    unsigned pins;             /* users; only unpinned slices are evicted */
    bool dirty;
    bool loading; /* its bytes are being read; wait on cache_cond */
    bool writing; /* a copy of its bytes is being written; not evicted, not written meanwhile */
    bool failed;  /* loading did not succeed */
    bool gone;    /* out of the hash; freed with its last pin */
    uint8_t data[];
};

struct qcow2_cache {
    struct qcow2_slice **buckets;
    unsigned bucket_count; /* power of two */
    struct list lru;
    size_t count, dirty; /* slices */
    size_t limit;        /* slices; exceeded only while all others are pinned or dirty */
};

/* A range of guest clusters whose mapping is being changed; on the writer's stack. */
struct qcow2_inflight {
    struct list node;
    uint64_t first, count; /* guest clusters */
};

/* Host clusters on their way to be free. */
struct qcow2_freed {
    struct qcow2_freed *next;
    uint64_t offset; /* cluster-aligned */
    uint64_t count;  /* clusters; each loses one reference */
    bool discard;    /* the space goes back to the host when it is free */
};

struct qcow2_crypto;
struct qcow2_compress;
struct qcow2_tracked;

/* Write-backs, numbered from 1. One runs at a time and serves all flushes that came before it. */
struct qcow2_flush {
    pthread_cond_t cond; /* one ended */
    bool running;
    uint64_t begun, ended; /* the last one's number */
    uint64_t failed;       /* the last one that failed, 0: none */
    int error;             /* its -errno */
};

struct qcow2 {
    struct block_node *node;
    struct block_node *file; /* node->file: metadata */
    struct block_node *data; /* guest data: file, or the external data file (owned) */

    struct qcow2_header header; /* as on disk; under lock once it is open */
    char *backing_path;         /* as written; NULL: none */
    char *backing_format;       /* as written; NULL: not said */
    char *data_path;            /* as written; NULL: not said */
    uint64_t crypto_offset;     /* LUKS header in the file; 0: none */
    uint64_t crypto_len;
    uint32_t bitmap_count;          /* bitmaps extension; 0: none */
    uint64_t bitmap_directory_size; /* bytes */
    uint64_t bitmap_directory_offset;
    struct qcow2_extension *extensions; /* unknown ones */
    unsigned extension_count;
    uint8_t *header_tail; /* header fields beyond the known ones, kept */
    uint32_t header_tail_len;

    /* Constant. */
    unsigned cluster_bits;
    uint64_t cluster_size;
    bool extended_l2;
    unsigned subcluster_bits; /* cluster_bits without extended L2 entries */
    unsigned l2_entry_size;   /* 8 or 16 bytes */
    unsigned l2_bits;         /* log2 of entries of an L2 table */
    unsigned refcount_order;  /* log2 of the width in bits */
    uint64_t refcount_max;    /* largest value of that width */
    unsigned refblock_bits;   /* log2 of refcounts in a block */
    unsigned slice_bits;      /* log2 of slice_size */
    uint32_t slice_size;      /* bytes: 4 KiB, or a cluster where that is less */
    bool readonly;
    bool v3;
    bool lazy; /* refcounts are kept in memory, the image is marked dirty meanwhile */

    pthread_rwlock_t gate;
    pthread_mutex_t flush_lock;
    struct qcow2_flush flush;
    pthread_mutex_t lock;
    pthread_cond_t cache_cond;    /* a slice is loaded or written */
    pthread_cond_t inflight_cond; /* a range in flight ended */

    /* All under lock. */
    struct qcow2_cache l2, refcounts;
    uint64_t *l1;      /* header.l1_size entries, host byte order */
    uint8_t *l1_dirty; /* one byte for each 512 of the table */
    bool l1_dirty_any;
    uint64_t *reftable; /* host byte order */
    uint64_t reftable_entries;
    bool reftable_doubled;   /* entries that name one block: nothing is allocated */
    uint8_t *reftable_dirty; /* as l1_dirty */
    bool reftable_dirty_any;
    uint64_t free_hint;        /* no free host cluster below this index */
    uint64_t fresh_from;       /* the file from here on (bytes) was never written: reads as zeros */
    struct list inflight;      /* struct qcow2_inflight */
    bool sparse, sparse_known; /* the file has holes where there are clusters */
    bool grown;                /* the file was made longer than what is used of it */
    bool refcount_barrier;     /* refcounts were written that are not durable */
    bool data_barrier; /* data was written since the last barrier that new L2 entries show */
    struct qcow2_freed *freed;   /* no longer referenced in memory, still on disk */
    struct qcow2_freed *settled; /* no longer referenced on disk either */
    struct qcow2_freed *grace;   /* the same, waiting for the requests of an older epoch */
    uint64_t freed_clusters;     /* in freed, settled and grace */
    uint64_t packing;            /* file offset for the next compressed bytes; 0: a new cluster */

    struct qcow2_snapshot *snapshots; /* header.nb_snapshots; NULL until they are loaded */

    /* Epochs: see qcow2_enter(). */
    atomic_uint epoch;
    atomic_uint users[2];  /* requests of even and odd epochs */
    atomic_bool exclusive; /* gate is wanted for writing: map() gives SLOW */

    atomic_bool modified; /* qcow2_prepare_write() is done */
    atomic_bool corrupt;  /* no more writes */

    struct qcow2_compress *compress;
    pthread_mutex_t bitmaps_lock;  /* under gate: one loads the bitmaps */
    atomic_bool bitmaps_ready;     /* tracked is what is to be tracked; changes under gate */
    struct qcow2_tracked *tracked; /* enabled bitmaps; constant while bitmaps_ready */
    struct qcow2_crypto *crypto;   /* NULL: not encrypted; see luks.h */
    bool has_data_file, data_file_raw;
};

static inline struct qcow2 *qcow2_of(const struct block_node *node)
{
    return node->state;
}

static inline uint64_t qcow2_in_cluster(const struct qcow2 *s, uint64_t offset)
{
    return offset & (s->cluster_size - 1);
}

static inline uint64_t qcow2_clusters(const struct qcow2 *s, uint64_t bytes)
{
    return (bytes >> s->cluster_bits) + (qcow2_in_cluster(s, bytes) != 0);
}

static inline uint64_t qcow2_l1_index(const struct qcow2 *s, uint64_t guest)
{
    return guest >> (s->cluster_bits + s->l2_bits);
}

/* L1 entries that a virtual size needs. */
static inline uint64_t qcow2_l1_entries(const struct qcow2 *s, uint64_t size)
{
    uint64_t span = BIT(s->cluster_bits + s->l2_bits);
    return size / span + (size % span != 0);
}

/* ---------------------------------------------------- qcow2_header.c */

/* Reads and checks the header and its extensions from s->file into s; fills the constants. */
int qcow2_header_read(struct qcow2 *s, bool check, struct kv_error *err);
void qcow2_header_free(struct qcow2 *s);
/* Writes the first cluster anew from s->header, the names and extensions. Not yet durable.
 * -ENOSPC: it does not fit. Under lock or gate (write). */
int qcow2_header_write(struct qcow2 *s, struct kv_error *err);
/* Another backing file by one sector of the header (path NULL: none; what is then said of its
 * format means nothing). *done false: there is no room, the header has to be written as a whole. */
int qcow2_header_switch_backing(struct qcow2 *s, const char *path, const char *format, bool *done);
/* Writes the three feature words in place and makes them durable. Under lock or gate (write). */
int qcow2_header_set_features(struct qcow2 *s, uint64_t incompatible, uint64_t compatible,
                              uint64_t autoclear);
/* Offset and size of a table in the file: aligned, not overflowing, below the limit. what names it
 * in the message. */
int qcow2_check_table(const struct qcow2 *s, const char *what, uint64_t offset, uint64_t entries,
                      unsigned entry_size, uint64_t max_bytes, struct kv_error *err);

/* ------------------------------------------------------ qcow2_open.c */

int qcow2_open(struct block_node *node, const struct block_open_options *options,
               struct kv_error *err);
void qcow2_close(struct block_node *node);
/* Writes metadata within the file. */
static inline int qcow2_file_write(struct qcow2 *s, uint64_t offset, const void *buffer,
                                   uint64_t len)
{
    return block_pwrite(s->file, offset, buffer, len, 0);
}
/* Reads bytes of the file; what is beyond its end reads as zeros. */
int qcow2_file_read(struct block_node *file, uint64_t offset, void *buffer, uint64_t len);
/* Makes the file at least so long. Under no lock of ours or under lock. */
int qcow2_file_grow(struct block_node *file, uint64_t end);
/* Loads L1 and the refcount table that the header names (again), forgetting what is cached.
 * Under gate (write) and not lock; what was dirty is lost. */
int qcow2_reload(struct qcow2 *s, struct kv_error *err);
/* Before the first change of an image: clears unknown autoclear bits, sets the dirty bit for lazy
 * refcounts. -EROFS: readonly or corrupt. Under no lock. Every writer calls it. */
int qcow2_prepare_write(struct qcow2 *s);
/* Before guest data of a range changes: marks it in the enabled bitmaps. Under gate. Never blocks
 * while bitmaps_ready. */
int qcow2_track(struct qcow2 *s, uint64_t offset, uint64_t len);
/* An inconsistency was found: sets the corrupt bit if the image is writable, forbids writing,
 * logs. Returns -EIO. Under lock. */
int qcow2_corruption(struct qcow2 *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ----------------------------------------------------- qcow2_cache.c */

int qcow2_cache_init(struct qcow2 *s, struct qcow2_cache *cache, uint64_t bytes);
void qcow2_cache_free(struct qcow2_cache *cache);
/*
 * The slice at a file offset (multiple of slice_size), pinned. Under lock. The L2 cache reads a
 * missing slice with the lock dropped: what was looked at before must be looked at again. The
 * refcount cache keeps it.
 */
int qcow2_cache_get(struct qcow2 *s, struct qcow2_cache *cache, uint64_t offset,
                    struct qcow2_slice **out);
/* Only what is in memory and whole; not pinned; never blocks. Under lock. */
struct qcow2_slice *qcow2_cache_peek(struct qcow2 *s, struct qcow2_cache *cache, uint64_t offset);
void qcow2_cache_put(struct qcow2_cache *cache, struct qcow2_slice *slice);
static inline void qcow2_cache_dirty(struct qcow2_cache *cache, struct qcow2_slice *slice)
{
    cache->dirty += !slice->dirty;
    slice->dirty = true;
}
/* Drops the slices of a range of the file, dirty or not: it no longer holds such a table. */
void qcow2_cache_forget(struct qcow2 *s, struct qcow2_cache *cache, uint64_t offset, uint64_t len);

/* ----------------------------------------------------- qcow2_flush.c */

/* Everything in order, then durable. Under no lock of ours, or gate. */
int qcow2_flush(struct qcow2 *s);
/* Where memory is bounded: writes back when much is dirty or freed. Called between the pieces of a
 * request; under no lock but gate. */
int qcow2_balance(struct qcow2 *s);
/* All changed refcount blocks, now. Under lock, which is kept. Not yet durable. */
int qcow2_refcounts_write(struct qcow2 *s);

/* A request that uses host offsets found under lock is between the two: clusters freed meanwhile
 * are not given to others. Never block. */
unsigned qcow2_enter(struct qcow2 *s);
void qcow2_leave(struct qcow2 *s, unsigned epoch);
/* The image for oneself: no request is under way, mapped ones included. */
void qcow2_exclusive_begin(struct qcow2 *s);
void qcow2_exclusive_end(struct qcow2 *s);

/* -------------------------------------------------- qcow2_refcount.c */

/* All under lock, which they keep. Host cluster indexes are offset >> cluster_bits. */
int qcow2_refcount_get(struct qcow2 *s, uint64_t cluster, uint64_t *refcount);
int qcow2_refcount_set(struct qcow2 *s, uint64_t cluster, uint64_t refcount);
/* Adds to each of count clusters; all or none. -ERANGE: beyond the width; -EIO: below 0. A
 * decrease is for clusters that nothing on disk points to; else qcow2_free(). */
int qcow2_refcount_add(struct qcow2 *s, uint64_t cluster, uint64_t count, int64_t delta);
/* Up to *count clusters in a row with refcount 0, now 1; *count: how many. *fresh: they read as
 * zeros. */
int qcow2_alloc(struct qcow2 *s, uint64_t *count, uint64_t *offset, bool *fresh);
/* Exactly count clusters in a row without any I/O; false: not to be had so. fresh_only: they must
 * read as zeros. */
bool qcow2_alloc_cached(struct qcow2 *s, uint64_t count, bool fresh_only, uint64_t *offset);
/* Exactly count clusters in a row, refcount 1. */
int qcow2_alloc_exact(struct qcow2 *s, uint64_t count, uint64_t *offset);
/* As many as are free at this place, up to *count; 0 is success. */
int qcow2_alloc_at(struct qcow2 *s, uint64_t offset, uint64_t *count, bool *fresh);
/* The mapping in memory no longer points there: each of count clusters loses a reference when the
 * file does not point there either. offset is cluster-aligned. */
int qcow2_free(struct qcow2 *s, uint64_t offset, uint64_t count, bool discard);
/* Width-independent access to a refcount block or a part of one. */
uint64_t qcow2_refcount_load(const void *block, unsigned order, uint64_t index);
void qcow2_refcount_store(void *block, unsigned order, uint64_t index, uint64_t value);
/* What a range of the file would hit of header and top-level tables; NULL: nothing. Cheap. */
const char *qcow2_metadata_at(const struct qcow2 *s, uint64_t offset, uint64_t len);
/* 0, or -EIO after marking the image corrupt: a data write would hit metadata. Under lock. */
int qcow2_check_overlap(struct qcow2 *s, uint64_t offset, uint64_t len);

/* ------------------------------------------------- qcow2_reftable.c */

/* The refcount block for a block index exists afterwards; grows the table where needed. Under
 * lock. */
int qcow2_refblock_create(struct qcow2 *s, uint64_t index);
/* count clusters in a row, more than the refcounts of a block: its blocks lie in front of them and
 * not in between. */
int qcow2_alloc_with_blocks(struct qcow2 *s, uint64_t count, uint64_t *offset);

/* ------------------------------------------------------- qcow2_l2.c */

/* Where L2 entries are: index to index + count - 1 of a pinned slice. */
struct qcow2_l2_ref {
    struct qcow2_slice *slice; /* NULL: no L2 table there; then all entries are 0 */
    unsigned index, count;     /* entries of the slice from that of the asked guest offset on */
};

/* Under lock, which it may drop and take again. write: the L2 table is made, or copied if it is
 * shared. Undo with qcow2_l2_put(). */
int qcow2_l2_get(struct qcow2 *s, uint64_t guest, bool write, struct qcow2_l2_ref *ref);
void qcow2_l2_put(struct qcow2 *s, struct qcow2_l2_ref *ref);

/* For writing, out of the cache alone; false: not there, or the table is shared. Never blocks. */
bool qcow2_l2_peek(struct qcow2 *s, uint64_t guest, struct qcow2_l2_ref *ref);

static inline uint64_t qcow2_l2_entry(const struct qcow2 *s, const struct qcow2_l2_ref *ref,
                                      unsigned i)
{
    uint64_t raw;
    if (!ref->slice)
        return 0;
    memcpy(&raw, ref->slice->data + (size_t)(ref->index + i) * s->l2_entry_size, sizeof(raw));
    return be64toh(raw);
}

/* Of subclusters; 0 without extended L2 entries. */
static inline uint64_t qcow2_l2_bitmap(const struct qcow2 *s, const struct qcow2_l2_ref *ref,
                                       unsigned i)
{
    uint64_t raw;
    if (!ref->slice || !s->extended_l2)
        return 0;
    memcpy(&raw, ref->slice->data + (size_t)(ref->index + i) * s->l2_entry_size + 8, sizeof(raw));
    return be64toh(raw);
}

/* Marks the slice dirty. ref came from qcow2_l2_get(write). bitmap: ignored without extended L2
 * entries. */
void qcow2_l2_set(struct qcow2 *s, const struct qcow2_l2_ref *ref, unsigned i, uint64_t entry,
                  uint64_t bitmap);

/* Bits of the subclusters that the guest range [from, end) touches in the cluster at start. */
uint64_t qcow2_subclusters(const struct qcow2 *s, uint64_t start, uint64_t from, uint64_t end);
/* count guest clusters from number first on get host clusters in a row, of refcount 1. With
 * subclusters, those of the guest range [from, end) are there afterwards, others stay as they are.
 * Under lock. */
void qcow2_link(struct qcow2 *s, const struct qcow2_l2_ref *ref, unsigned count, uint64_t first,
                uint64_t host, uint64_t from, uint64_t end);

enum qcow2_kind {
    QCOW2_UNALLOCATED, /* the backing file's, else zeros */
    QCOW2_ZEROS,
    QCOW2_NORMAL,
    QCOW2_COMPRESSED_CLUSTER,
};

/* Guest bytes of one kind in a row, and in the host file too where they have a place there. */
struct qcow2_run {
    enum qcow2_kind kind;
    uint64_t len;   /* bytes from the asked offset on */
    uint64_t host;  /* NORMAL: of the asked offset. Else of its place if has_host */
    bool has_host;  /* NORMAL; ZEROS and UNALLOCATED with preallocated space */
    bool writable;  /* NORMAL: refcount 1, may be written in place */
    uint64_t entry; /* COMPRESSED_CLUSTER: its L2 entry; len ends within the cluster */
};

/* What a guest range of at most len bytes begins with. Under lock, which it may drop before it
 * looks. Checked: host ranges are aligned and of sane offset, else -EIO (and marked corrupt). */
int qcow2_lookup(struct qcow2 *s, uint64_t guest, uint64_t len, struct qcow2_run *run);
/* The same out of the cache alone; false: not known without I/O. Under lock. */
bool qcow2_lookup_cached(struct qcow2 *s, uint64_t guest, uint64_t len, struct qcow2_run *run);

/* Where the bytes of a compressed cluster's L2 entry lie: at most *len bytes from *offset on
 * (any alignment; ends at a sector's end). */
static inline void qcow2_compressed_place(const struct qcow2 *s, uint64_t entry, uint64_t *offset,
                                          uint64_t *len)
{
    unsigned shift = 62 - (s->cluster_bits - 8);
    *offset = entry & (BIT(shift) - 1) & QCOW2_MAX_HOST_OFFSET;
    uint64_t sectors = ((entry & (BIT(62) - 1)) >> shift) + 1;
    *len = sectors * 512 - (*offset & 511);
}

/* Guest clusters whose mapping one wants to change: waits until no other does. Under lock, which it
 * drops while waiting. */
/* How many of count clusters from first on nobody is changing; 0: not even the first. Under lock.
 */
uint64_t qcow2_inflight_free(const struct qcow2 *s, uint64_t first, uint64_t count);
void qcow2_inflight_begin(struct qcow2 *s, struct qcow2_inflight *inflight, uint64_t first,
                          uint64_t count);
void qcow2_inflight_end(struct qcow2 *s, struct qcow2_inflight *inflight);
/* An old L2 entry was replaced: frees what it pointed to (compressed clusters too). Under lock. */
int qcow2_free_entry(struct qcow2 *s, uint64_t entry, bool discard);

/* ------------------------------------------------ read, write, the rest */

int qcow2_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                 unsigned count);
/* What a lookup found, into a part of iov. Not under lock; between enter and leave. */
int qcow2_read_run(struct qcow2 *s, const struct qcow2_run *run, uint64_t guest,
                   const struct iovec *iov, unsigned count, uint64_t iov_offset);
int qcow2_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out);
void qcow2_map(struct block_node *node, const struct block_request *request,
               struct block_mapping *out);
void qcow2_mapped_done(struct block_node *node, void *token, int result);
int qcow2_pwritev(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count, unsigned flags);
/* Bytes of clusters that are ours, at their place in the data file. */
int qcow2_data_write(struct qcow2 *s, uint64_t host, const struct iovec *iov, unsigned count,
                     uint64_t iov_offset, uint64_t len, unsigned flags);
/* The writing itself: under gate, between enter and leave. *linked: the mapping changed. */
int qcow2_write_range(struct qcow2 *s, uint64_t offset, uint64_t len, const struct iovec *iov,
                      unsigned count, unsigned flags, bool *linked);
/* Zeros by the mapping where possible, else written. Under gate. */
int qcow2_zero_range(struct qcow2 *s, uint64_t offset, uint64_t end, bool unmap);
/* Whole clusters. fully: they become unallocated, else they read as zeros. Under gate. */
int qcow2_discard_range(struct qcow2 *s, uint64_t offset, uint64_t end, bool fully);
int qcow2_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags);
int qcow2_discard(struct block_node *node, uint64_t offset, uint64_t len);
int qcow2_make_empty(struct block_node *node, struct kv_error *err);
int qcow2_resize(struct block_node *node, uint64_t size, struct kv_error *err);
/* The L1 table has room for entries afterwards; durable. Under gate (write), not lock. */
int qcow2_l1_grow(struct qcow2 *s, uint64_t entries, struct kv_error *err);

/* ------------------------------------------------ qcow2_compress.c */

/* Loads the library and makes the cache, when the image is opened. */
int qcow2_compress_init(struct qcow2 *s, struct kv_error *err);
/* After an init that failed or was not called too. */
void qcow2_compress_free(struct qcow2 *s);
/* A whole decompressed cluster into buffer. entry: its L2 entry. Between enter and leave, under no
 * other lock. */
int qcow2_read_compressed(struct qcow2 *s, uint64_t entry, uint8_t *buffer);
/* BLOCK_COMPRESSED: whole clusters (the last may be short at the end of the image). */
int qcow2_write_compressed(struct block_node *node, uint64_t offset, uint64_t len,
                           const struct iovec *iov, unsigned count);

#endif
