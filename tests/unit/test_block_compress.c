/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/util.h"
#include "block/compress.h"
#include "unit.h"

#define CLUSTER KIB(64)

static uint8_t plain[CLUSTER], packed[2 * CLUSTER], back[CLUSTER + 16];

static void fill_text(void)
{
    for (size_t i = 0; i < CLUSTER; i++)
        plain[i] = (uint8_t) "a cluster that is easy to compress "[(i + i / 700) % 35];
}

static void fill_noise(void)
{
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < CLUSTER; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        plain[i] = (uint8_t)x;
    }
}

static int prepare(void **state)
{
    for (int t = 0; t < COMPRESS_TYPES; t++) {
        if (compress_prepare(t, NULL) < 0)
            return -1;
    }
    return 0;
}

static void a_cluster_comes_back_whatever_lies_behind_it(void **state)
{
    for (int t = 0; t < COMPRESS_TYPES; t++) {
        fill_text();
        ssize_t n = compress_cluster(t, packed, CLUSTER, plain, CLUSTER);
        assert_in_range(n, 1, CLUSTER / 4);
        memset(packed + n, 0xa5, 600);
        memset(back, 0x77, sizeof(back));
        assert_int_equal(decompress_cluster(t, back, CLUSTER, packed, (size_t)n + 600), 0);
        assert_memory_equal(back, plain, CLUSTER);
        assert_int_equal(back[CLUSTER], 0x77);
    }
}

static void noise_does_not_fit_and_says_so(void **state)
{
    for (int t = 0; t < COMPRESS_TYPES; t++) {
        fill_noise();
        assert_int_equal(compress_cluster(t, packed, CLUSTER - 1, plain, CLUSTER), -ENOSPC);
        ssize_t n = compress_cluster(t, packed, sizeof(packed), plain, CLUSTER);
        assert_in_range(n, CLUSTER, sizeof(packed));
        assert_int_equal(decompress_cluster(t, back, CLUSTER, packed, (size_t)n), 0);
        assert_memory_equal(back, plain, CLUSTER);
    }
}

static void a_stream_that_makes_less_than_a_cluster_is_damaged(void **state)
{
    for (int t = 0; t < COMPRESS_TYPES; t++) {
        fill_text();
        ssize_t n = compress_cluster(t, packed, sizeof(packed), plain, CLUSTER - 1);
        memset(packed + n, 0, 64);
        assert_int_equal(decompress_cluster(t, back, CLUSTER, packed, (size_t)n), -EIO);
        n = compress_cluster(t, packed, sizeof(packed), plain, CLUSTER);
        assert_int_equal(decompress_cluster(t, back, CLUSTER, packed, (size_t)n / 2), -EIO);
        assert_int_equal(decompress_cluster(t, back, CLUSTER, packed, 0), -EIO);
    }
}

static void a_deflate_stream_that_could_make_more_ends_at_the_cluster(void **state)
{
    static uint8_t big[4 * CLUSTER];
    ssize_t n = compress_cluster(COMPRESS_DEFLATE, packed, sizeof(packed), big, sizeof(big));
    memset(back, 0x77, sizeof(back));
    assert_int_equal(decompress_cluster(COMPRESS_DEFLATE, back, CLUSTER, packed, (size_t)n), 0);
    assert_int_equal(back[CLUSTER - 1], 0);
    assert_int_equal(back[CLUSTER], 0x77);
}

static void deflate_of_other_writers_with_a_large_window_is_read(void **state)
{
    fill_noise();
    memcpy(plain + KIB(32), plain, KIB(32));
    z_stream stream = {
        .next_in = plain, .avail_in = CLUSTER, .next_out = packed, .avail_out = sizeof(packed)};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    assert_int_equal(decompress_cluster(COMPRESS_DEFLATE, back, CLUSTER, packed, stream.total_out),
                     0);
    assert_memory_equal(back, plain, CLUSTER);
}

static void our_deflate_is_read_with_a_window_of_four_kilobytes(void **state)
{
    fill_text();
    ssize_t n = compress_cluster(COMPRESS_DEFLATE, packed, sizeof(packed), plain, CLUSTER);
    z_stream stream = {.next_in = packed, .avail_in = (uInt)n};
    assert_int_equal(inflateInit2(&stream, -12), Z_OK);
    /* Small pieces, so that the window and not the output is looked into. */
    for (size_t at = 0; at < CLUSTER; at += 1024) {
        stream.next_out = back + at;
        stream.avail_out = 1024;
        assert_in_range(inflate(&stream, Z_NO_FLUSH), Z_OK, Z_STREAM_END);
        assert_int_equal(stream.avail_out, 0);
    }
    inflateEnd(&stream);
    assert_memory_equal(back, plain, CLUSTER);
}

static void a_zstd_frame_that_asks_for_a_huge_window_costs_nothing(void **state)
{
    fill_text();
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, 27);
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
    ZSTD_inBuffer in = {plain, CLUSTER, 0};
    ZSTD_outBuffer out = {packed, sizeof(packed), 0};
    size_t r;
    do
        r = ZSTD_compressStream2(c, &out, &in, in.pos < in.size ? ZSTD_e_continue : ZSTD_e_end);
    while (in.pos < in.size || r != 0);
    r = ZSTD_compressStream2(c, &out, &in, ZSTD_e_end);
    assert_int_equal(r, 0);
    ZSTD_freeCCtx(c);
    assert_int_equal(decompress_cluster(COMPRESS_ZSTD, back, CLUSTER, packed, out.pos), 0);
    assert_memory_equal(back, plain, CLUSTER);
}

static void a_zstd_frame_larger_than_the_cluster_is_damaged(void **state)
{
    static uint8_t big[4 * CLUSTER];
    ssize_t n = compress_cluster(COMPRESS_ZSTD, packed, sizeof(packed), big, sizeof(big));
    memset(back, 0x77, sizeof(back));
    assert_int_equal(decompress_cluster(COMPRESS_ZSTD, back, CLUSTER, packed, (size_t)n), -EIO);
    assert_int_equal(back[CLUSTER], 0x77);
}

static void flipped_bytes_never_write_beyond_the_cluster(void **state)
{
    for (int t = 0; t < COMPRESS_TYPES; t++) {
        fill_text();
        ssize_t n = compress_cluster(t, packed, sizeof(packed), plain, CLUSTER);
        for (ssize_t i = 0; i < n; i++) {
            uint8_t was = packed[i];
            packed[i] ^= (uint8_t)(1u << (i % 8));
            memset(back + CLUSTER, 0x77, sizeof(back) - CLUSTER);
            int r = decompress_cluster(t, back, CLUSTER, packed, (size_t)n);
            assert_true(r == 0 || r == -EIO);
            assert_int_equal(back[CLUSTER], 0x77);
            packed[i] = was;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_comes_back_whatever_lies_behind_it),
        cmocka_unit_test(noise_does_not_fit_and_says_so),
        cmocka_unit_test(a_stream_that_makes_less_than_a_cluster_is_damaged),
        cmocka_unit_test(a_deflate_stream_that_could_make_more_ends_at_the_cluster),
        cmocka_unit_test(deflate_of_other_writers_with_a_large_window_is_read),
        cmocka_unit_test(our_deflate_is_read_with_a_window_of_four_kilobytes),
        cmocka_unit_test(a_zstd_frame_that_asks_for_a_huge_window_costs_nothing),
        cmocka_unit_test(a_zstd_frame_larger_than_the_cluster_is_damaged),
        cmocka_unit_test(flipped_bytes_never_write_beyond_the_cluster),
    };
    return cmocka_run_group_tests_name("block_compress", tests, prepare, NULL);
}
