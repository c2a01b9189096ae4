/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encrypted disks: algorithms against published vectors, LUKS headers, the luks format. */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "block/driver.h"
#include "block/luks.h"
#include "block/memory.h"
#include "block/secret.h"
#include "unit.h"

#define DESCRIPTION "json:{\"driver\":\"luks\",\"key-secret\":\"%s\",\"filename\":\"memory:luks\"}"

static void hex(const char *text, uint8_t *out)
{
    for (; *text; text += 2, out++)
        sscanf(text, "%2hhx", out);
}

static int prepare(void **state)
{
    return crypto_prepare(NULL);
}

static int forget(void **state)
{
    secret_clear();
    block_memory_remove("luks");
    return 0;
}

static struct crypto_cipher *cipher_of(unsigned bits, enum crypto_mode mode,
                                       enum crypto_ivgen ivgen, const char *key_text)
{
    struct crypto_spec spec = {bits, mode, ivgen, CRYPTO_SHA256};
    struct crypto_cipher *cipher;
    uint8_t key[CRYPTO_KEY_MAX];
    hex(key_text, key);
    assert_int_equal(crypto_cipher_create(&cipher, &spec, key, NULL), 0);
    return cipher;
}

/* ------------------------------------------------------------- algorithms */

static void xts_gives_what_ieee_1619_says(void **state)
{
    /* Vector 4: sector 0, plain bytes 0 to 255 twice. */
    struct crypto_cipher *cipher =
        cipher_of(128, CRYPTO_XTS, CRYPTO_PLAIN64,
                  "2718281828459045235360287471352631415926535897932384626433832795");
    uint8_t data[512], want[16];
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    assert_int_equal(crypto_encrypt(cipher, 0, data, sizeof(data)), 0);
    hex("27a7479befa1d476489f308cd4cfa6e2", want);
    assert_memory_equal(data, want, 16);
    assert_int_equal(crypto_decrypt(cipher, 0, data, sizeof(data)), 0);
    for (unsigned i = 0; i < sizeof(data); i++)
        assert_int_equal(data[i], (uint8_t)i);
    crypto_cipher_free(cipher);
}

static void xts_by_hand_is_xts(void **state)
{
    /* AES-192 over sector 5, computed block by block with OpenSSL's AES-192-ECB. */
    struct crypto_cipher *cipher = cipher_of(192, CRYPTO_XTS, CRYPTO_PLAIN64,
                                             "000102030405060708090a0b0c0d0e0f1011121314151617"
                                             "18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f");
    uint8_t data[1024], want[16];
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    assert_int_equal(crypto_encrypt(cipher, 4, data, sizeof(data)), 0);
    hex("d5dbafc5a34a1f06ef43ff6e79dfd01e", want);
    assert_memory_equal(data + 512, want, 16);
    hex("2dd3ce7c1c543c2bece5300517724a29", want);
    assert_memory_equal(data + 1008, want, 16);
    assert_int_equal(crypto_decrypt(cipher, 4, data, sizeof(data)), 0);
    for (unsigned i = 0; i < sizeof(data); i++)
        assert_int_equal(data[i], (uint8_t)(i * 7));
    crypto_cipher_free(cipher);
}

static void each_sector_has_its_own_vector(void **state)
{
    static const enum crypto_ivgen ivgens[] = {CRYPTO_PLAIN, CRYPTO_PLAIN64, CRYPTO_ESSIV};
    for (unsigned i = 0; i < ARRAY_SIZE(ivgens); i++) {
        struct crypto_cipher *cipher =
            cipher_of(128, CRYPTO_CBC, ivgens[i], "000102030405060708090a0b0c0d0e0f");
        uint8_t data[1024] = {0};
        assert_int_equal(crypto_encrypt(cipher, UINT32_MAX, data, sizeof(data)), 0);
        assert_memory_not_equal(data, data + 512, 512);
        assert_int_equal(crypto_decrypt(cipher, UINT32_MAX, data, sizeof(data)), 0);
        assert_true(buffer_is_zero(data, sizeof(data)));
        /* PLAIN wraps after 2^32 sectors, the others do not. */
        uint8_t again[512] = {0};
        assert_int_equal(crypto_encrypt(cipher, 0, data, 512), 0);
        assert_int_equal(crypto_encrypt(cipher, BIT(32), again, 512), 0);
        assert_int_equal(memcmp(data, again, 512) == 0, ivgens[i] == CRYPTO_PLAIN);
        crypto_cipher_free(cipher);
    }
}

static void pbkdf2_gives_what_rfc_6070_says(void **state)
{
    uint8_t key[20], want[20];
    hex("4b007901b765489abead49d926f721d065a429c1", want);
    assert_int_equal(
        crypto_pbkdf2(CRYPTO_SHA1, "password", 8, (const uint8_t *)"salt", 4, 4096, key, 20), 0);
    assert_memory_equal(key, want, 20);
}

static void combinations_that_do_not_exist_are_refused(void **state)
{
    struct crypto_cipher *cipher;
    uint8_t key[CRYPTO_KEY_MAX] = {1};
    struct crypto_spec essiv_sha1 = {256, CRYPTO_CBC, CRYPTO_ESSIV, CRYPTO_SHA1};
    struct crypto_spec odd = {200, CRYPTO_CBC, CRYPTO_PLAIN64, CRYPTO_SHA1};
    assert_int_equal(crypto_cipher_create(&cipher, &essiv_sha1, key, NULL), -ENOTSUP);
    assert_int_equal(crypto_cipher_create(&cipher, &odd, key, NULL), -ENOTSUP);
}

/* ---------------------------------------------------------------- secrets */

static void secrets_come_as_text_base64_and_files(void **state)
{
    static const struct {
        const char *text, *bytes;
    } cases[] = {
        {"secret,id=a,data=hello", "hello"},
        {"id=b,data=aGVsbG8=,format=base64", "hello"},
        {"id=c,data=aGVsbA==,format=base64", "hell"},
        {"id=d,data=aGVs,format=base64", "hel"},
        {"id=e,data=", ""},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t *data;
        size_t len;
        char id[2] = {(char)('a' + i), 0};
        assert_int_equal(secret_add_text(cases[i].text, NULL), 0);
        assert_int_equal(secret_get(id, &data, &len, NULL), 0);
        assert_int_equal(len, strlen(cases[i].bytes));
        assert_memory_equal(data, cases[i].bytes, len);
        secret_release(data, len);
    }
    char path[] = "/tmp/kvasir-secret-XXXXXX", text[128];
    int fd = mkstemp(path);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);
    snprintf(text, sizeof(text), "id=file,file=%s", path);
    assert_int_equal(secret_add_text(text, NULL), 0);
    unlink(path);
    uint8_t *data;
    size_t len;
    assert_int_equal(secret_get("file", &data, &len, NULL), 0);
    assert_int_equal(len, 10000);
    assert_memory_equal(data + 9990, "0123456789", 10);
    secret_release(data, len);
}

static void secrets_that_make_no_sense_are_refused(void **state)
{
    uint8_t *data;
    size_t len;
    assert_int_equal(secret_add_text("id=a,data=x", NULL), 0);
    assert_int_equal(secret_add_text("id=a,data=y", NULL), -EEXIST);
    assert_int_equal(secret_add_text("id=b", NULL), -EINVAL);
    assert_int_equal(secret_add_text("id=b,data=x,file=y", NULL), -EINVAL);
    assert_int_equal(secret_add_text("id=b,data=a,format=base64", NULL), -EINVAL);
    assert_int_equal(secret_add_text("id=b,data=a=bc,format=base64", NULL), -EINVAL);
    assert_int_equal(secret_add_text("id=b,data=x,keyid=a,iv=AAAA", NULL), -ENOTSUP);
    assert_int_equal(secret_add_text("id=b,file=/nowhere/at/all", NULL), -ENOENT);
    assert_int_equal(secret_get("b", &data, &len, NULL), -ENOENT);
}

/* ------------------------------------------------------------------- LUKS */

struct create {
    uint64_t size;
    struct luks_config config;
};

static void create_disk(uint64_t size, struct luks_config *config, const char *passphrase)
{
    struct create create = {.size = size, .config = *config};
    char id[] = "key0";
    secret_add(id, passphrase, strlen(passphrase), NULL);
    create.config.key_secret = id;
    create.config.iter_time = 1;
    struct kv_error err = {0};
    if (block_driver_find("luks")->create("memory:luks", &create, &err) < 0)
        fail_msg("%s", err.message);
}

static int open_luks(struct block_node **node, const char *secret)
{
    char path[128];
    snprintf(path, sizeof(path), DESCRIPTION, secret);
    struct block_open_options options = {.path = path};
    return block_open(node, &options, NULL);
}

static struct block_node *make_and_open(struct luks_config *config)
{
    struct block_node *node;
    create_disk(MIB(1), config, "correct horse");
    assert_int_equal(open_luks(&node, "key0"), 0);
    return node;
}

static void every_combination_keeps_its_data_and_hides_it(void **state)
{
    static const struct {
        int cipher, mode, ivgen, hash;
    } cases[] = {
        {0, CRYPTO_XTS, CRYPTO_PLAIN64, CRYPTO_SHA256},
        {1, CRYPTO_XTS, CRYPTO_PLAIN, CRYPTO_SHA1},
        {2, CRYPTO_XTS, CRYPTO_PLAIN64, CRYPTO_SHA512},
        {0, CRYPTO_CBC, CRYPTO_ESSIV, CRYPTO_SHA1},
        {1, CRYPTO_CBC, CRYPTO_PLAIN64, CRYPTO_SHA384},
        {2, CRYPTO_CBC, CRYPTO_ESSIV, CRYPTO_SHA224},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct luks_config config;
        uint8_t data[2048], back[2048], stored[2048];
        luks_config_defaults(&config);
        config.cipher = cases[i].cipher;
        config.mode = cases[i].mode;
        config.ivgen = cases[i].ivgen;
        config.hash = cases[i].hash;
        struct block_node *node = make_and_open(&config);
        assert_int_equal(block_get_info(node)->size, MIB(1));
        for (unsigned k = 0; k < sizeof(data); k++)
            data[k] = (uint8_t)(k * 13 + i);
        assert_int_equal(block_pwrite(node, KIB(8), data, sizeof(data), 0), 0);
        block_close(node);
        assert_int_equal(open_luks(&node, "key0"), 0);
        assert_int_equal(block_pread(node, KIB(8), back, sizeof(back)), 0);
        assert_memory_equal(back, data, sizeof(data));
        block_close(node);
        uint64_t header;
        assert_int_equal(luks_header_size(&config, &header, NULL), 0);
        assert_int_equal(block_memory_get("luks", header + KIB(8), stored, sizeof(stored)), 0);
        assert_memory_not_equal(stored, data, 512);
        forget(NULL);
    }
}

static void writes_of_any_alignment_keep_their_neighbours(void **state)
{
    struct luks_config config;
    luks_config_defaults(&config);
    struct block_node *node = make_and_open(&config);
    static uint8_t model[KIB(16)], back[KIB(16)];
    memset(model, 0x11, sizeof(model));
    assert_int_equal(block_pwrite(node, 0, model, sizeof(model), 0), 0);
    uint32_t seed = 1;
    for (unsigned i = 0; i < 400; i++) {
        seed = seed * 1103515245 + 12345;
        uint32_t offset = (seed >> 8) % (KIB(16) - 1);
        seed = seed * 1103515245 + 12345;
        uint32_t len = 1 + (seed >> 8) % MIN(KIB(16) - offset, (seed >> 4) % 2 ? 700u : 5000u);
        memset(model + offset, (int)i, len);
        assert_int_equal(block_pwrite(node, offset, model + offset, len, 0), 0);
        assert_int_equal(block_pread(node, offset / 2, back, len), 0);
        assert_memory_equal(back, model + offset / 2, len);
    }
    assert_int_equal(block_pread(node, 0, back, sizeof(back)), 0);
    assert_memory_equal(back, model, sizeof(model));
    block_close(node);
}

static void a_wrong_or_missing_passphrase_opens_nothing(void **state)
{
    struct luks_config config;
    struct block_node *node;
    luks_config_defaults(&config);
    create_disk(MIB(1), &config, "correct horse");
    secret_add("wrong", "battery staple", 14, NULL);
    assert_int_equal(open_luks(&node, "wrong"), -EACCES);
    assert_int_equal(open_luks(&node, "unknown"), -ENOENT);
    struct block_open_options options = {.path = "memory:luks", .format = "luks"};
    assert_int_equal(block_open(&node, &options, NULL), -EINVAL);
    options.no_io = options.readonly = true;
    assert_int_equal(block_open(&node, &options, NULL), 0);
    char byte;
    assert_int_equal(block_pread(node, 0, &byte, 1), -EACCES);
    assert_true(block_get_info(node)->encrypted);
    block_close(node);
}

static int amend(struct block_node *node, const char *json)
{
    json_t *changes = json_loads(json, 0, NULL);
    int r = node->driver->amend(node, changes, NULL);
    json_decref(changes);
    return r;
}

static void keys_are_added_and_erased_but_never_the_last(void **state)
{
    struct luks_config config;
    luks_config_defaults(&config);
    struct block_node *node = make_and_open(&config);
    secret_add("key1", "second", 6, NULL);
    assert_int_equal(amend(node, "{\"state\":\"inactive\",\"keyslot\":0}"), -EPERM);
    assert_int_equal(amend(node, "{\"state\":\"active\",\"new-secret\":\"key1\",\"iter-time\":1}"),
                     0);
    assert_int_equal(amend(node, "{\"state\":\"active\",\"new-secret\":\"key1\",\"keyslot\":1}"),
                     -EEXIST);
    assert_int_equal(amend(node, "{\"state\":\"active\",\"keyslot\":3}"), -EINVAL);
    block_close(node);
    assert_int_equal(open_luks(&node, "key1"), 0);
    assert_int_equal(amend(node, "{\"state\":\"inactive\",\"old-secret\":\"key0\"}"), 0);
    assert_int_equal(amend(node, "{\"state\":\"inactive\",\"old-secret\":\"key0\"}"), -EACCES);
    block_close(node);
    assert_int_equal(open_luks(&node, "key0"), -EACCES);
    assert_int_equal(open_luks(&node, "key1"), 0);
    block_close(node);
}

static void poke(uint64_t offset, const void *bytes, size_t len)
{
    struct block_node *node;
    struct block_open_options options = {.path = "memory:luks", .format = "raw"};
    assert_int_equal(block_open(&node, &options, NULL), 0);
    assert_int_equal(block_pwrite(node, offset, bytes, len, 0), 0);
    block_close(node);
}

static void hostile_headers_are_refused(void **state)
{
    static const struct {
        unsigned offset, len;
        uint32_t value; /* big-endian in the file */
    } cases[] = {
        {0, 4, 0},            /* magic */
        {8, 4, 0x73657270},   /* cipher "serp" */
        {40, 4, 0x6563622d},  /* mode "ecb-" */
        {72, 4, 0x6d643500},  /* hash "md5" */
        {104, 4, 0xffffffff}, /* payload beyond the file */
        {104, 4, 8},          /* payload over the key slots */
        {108, 4, 0},          /* master key's size */
        {108, 4, 0xffffffff}, /* master key's size */
        {164, 4, 0},          /* digest iterations */
        {164, 4, 0xffffffff}, /* digest iterations */
        {208, 4, 1},          /* slot neither active nor not */
        {212, 4, 0},          /* slot iterations */
        {212, 4, 0xffffffff}, /* slot iterations */
        {248, 4, 0},          /* slot over the header */
        {248, 4, 0xffffffff}, /* slot beyond the file */
        {248, 4, 600},        /* slot over the next */
        {252, 4, 0},          /* stripes */
        {252, 4, 0xffffffff}, /* stripes */
    };
    struct luks_config config;
    luks_config_defaults(&config);
    create_disk(MIB(1), &config, "correct horse");
    uint8_t header[592];
    assert_int_equal(block_memory_get("luks", 0, header, sizeof(header)), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct block_node *node;
        uint32_t value = htobe32(cases[i].value);
        poke(cases[i].offset, &value, cases[i].len);
        int r = open_luks(&node, "key0");
        if (r != -EINVAL && r != -ENOTSUP)
            fail_msg("case %u: %d", i, r);
        poke(0, header, sizeof(header));
    }
    struct block_node *node;
    assert_int_equal(open_luks(&node, "key0"), 0);
    block_close(node);
    assert_int_equal(block_memory_put("luks", header, sizeof(header)), 0);
    assert_int_equal(open_luks(&node, "key0"), -EINVAL);
}

/* ------------------------------------------------------------------ qcow2 */

static int open_encrypted_qcow2(struct block_node **node, bool with_key)
{
    struct block_open_options options = {
        .path = with_key
                    ? "json:{\"driver\":\"qcow2\",\"encrypt\":{\"format\":\"luks\",\"key-secret\":"
                      "\"key0\"},\"filename\":\"memory:luks\"}"
                    : "memory:luks"};
    return block_open(node, &options, NULL);
}

static void an_encrypted_qcow2_hides_data_and_keeps_what_is_around_a_write(void **state)
{
    const struct block_driver *driver = block_driver_find("qcow2");
    struct block_node *node;
    struct block_check_result result;
    static uint8_t text[KIB(2)], back[KIB(4)];
    void *config = calloc(1, driver->create_config_size);
    secret_add("key0", "correct horse", 13, NULL);
    driver->create_defaults(config);
    assert_int_equal(options_parse_text(driver->create_options, "-o", NULL,
                                        "size=8M,encrypt.format=luks,encrypt.key-secret=key0,"
                                        "encrypt.iter-time=1",
                                        config, NULL),
                     0);
    assert_int_equal(driver->create("memory:luks", config, NULL), 0);
    options_free(driver->create_options, config);
    free(config);
    assert_int_equal(open_encrypted_qcow2(&node, false), -EINVAL);
    assert_int_equal(open_encrypted_qcow2(&node, true), 0);
    assert_true(block_get_info(node)->encrypted);
    memset(text, 'S', sizeof(text));
    assert_int_equal(block_pwrite(node, 1001, text, sizeof(text), 0), 0);
    assert_int_equal(block_pwrite(node, 1002, "x", 1, 0), 0);
    assert_int_equal(block_pwrite(node, 0, text, 512, BLOCK_COMPRESSED), -ENOTSUP);
    block_close(node);
    assert_int_equal(open_encrypted_qcow2(&node, true), 0);
    assert_int_equal(block_pread(node, 0, back, sizeof(back)), 0);
    assert_true(buffer_is_zero(back, 1001));
    assert_memory_equal(back + 1001, "SxS", 3);
    assert_memory_equal(back + 1004, text, sizeof(text) - 3);
    assert_true(buffer_is_zero(back + 1001 + sizeof(text), sizeof(back) - 1001 - sizeof(text)));
    assert_int_equal(driver->check(node, 0, &result, NULL, NULL, NULL), 0);
    assert_int_equal(result.corruptions + result.leaks + result.check_errors, 0);
    block_close(node);
    for (int64_t at = 0; at < block_memory_length("luks"); at += 512) {
        assert_int_equal(block_memory_get("luks", (uint64_t)at, back, 512), 0);
        assert_memory_not_equal(back, text, 512);
    }
}

static void *hammer(void *opaque)
{
    struct crypto_cipher *cipher = opaque;
    static const uint8_t zero[KIB(8)];
    uint8_t data[KIB(8)] = {0};
    for (unsigned i = 0; i < 300; i++) {
        if (crypto_encrypt(cipher, i, data, sizeof(data)) < 0 ||
            crypto_decrypt(cipher, i, data, sizeof(data)) < 0 || memcmp(data, zero, sizeof(data)))
            return cipher;
    }
    return NULL;
}

static void a_cipher_serves_threads_at_the_same_time(void **state)
{
    struct crypto_cipher *cipher =
        cipher_of(256, CRYPTO_CBC, CRYPTO_ESSIV,
                  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    pthread_t threads[4];
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, cipher), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    crypto_cipher_free(cipher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xts_gives_what_ieee_1619_says),
        cmocka_unit_test(xts_by_hand_is_xts),
        cmocka_unit_test(each_sector_has_its_own_vector),
        cmocka_unit_test(pbkdf2_gives_what_rfc_6070_says),
        cmocka_unit_test(combinations_that_do_not_exist_are_refused),
        cmocka_unit_test(a_cipher_serves_threads_at_the_same_time),
        cmocka_unit_test_teardown(secrets_come_as_text_base64_and_files, forget),
        cmocka_unit_test_teardown(secrets_that_make_no_sense_are_refused, forget),
        cmocka_unit_test_teardown(every_combination_keeps_its_data_and_hides_it, forget),
        cmocka_unit_test_teardown(writes_of_any_alignment_keep_their_neighbours, forget),
        cmocka_unit_test_teardown(a_wrong_or_missing_passphrase_opens_nothing, forget),
        cmocka_unit_test_teardown(keys_are_added_and_erased_but_never_the_last, forget),
        cmocka_unit_test_teardown(hostile_headers_are_refused, forget),
        cmocka_unit_test_teardown(an_encrypted_qcow2_hides_data_and_keeps_what_is_around_a_write,
                                  forget),
    };
    return cmocka_run_group_tests_name("block_luks", tests, prepare, NULL);
}
