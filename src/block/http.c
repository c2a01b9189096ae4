/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images behind a web server, read only: the protocol driver "http" ("https" is
 * the same) over libcurl. A request is one GET of a range (RFC 9110, 14), on a
 * connection that stays open for the next; what is read ahead is kept in a few
 * windows. Any thread, several at once.
 */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/description.h"
#include "block/drivers.h"
#include "block/library.h"
#include "block/secret.h"

#define SECTOR 512u
#define READAHEAD_DEFAULT KIB(256)
#define READAHEAD_MAX MIB(64)
#define TIMEOUT_DEFAULT_S 5
#define TIMEOUT_MAX_S 10000
#define WINDOWS 16u /* kept; with the usual read-ahead 4 MiB and what is in use */
#define IDLE_MAX 16u
#define TRIES 4
#define RETRY_FIRST_MS 100

/* clang-format off */
#define HTTP_LIBRARY(X) \
    X(curl_easy_init) X(curl_easy_cleanup) X(curl_easy_setopt) X(curl_easy_perform) \
    X(curl_easy_getinfo) X(curl_easy_strerror) X(curl_global_init)
/* clang-format on */

/* The header makes some of the names type-checking macros. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

static struct {
#define X(name) __typeof__(name) *name;
    HTTP_LIBRARY(X)
#undef X
} lib;

static const struct library_symbol symbols[] = {
#define X(function) {#function, &lib.function},
    HTTP_LIBRARY(X)
#undef X
        {NULL, NULL},
};

static struct library library =
    LIBRARY("libcurl-gnutls.so.4", "libcurl3-gnutls", "Images over HTTP", symbols);

/* Bytes of the image, from start on. */
struct window {
    uint64_t start, len;
    uint8_t *bytes;
    bool pending;   /* on its way: bytes must not be looked at */
    bool failed;    /* nobody finds it any more */
    unsigned users; /* threads that wait for it or copy from it */
    uint64_t used;  /* when, by http->clock */
};

struct http {
    char *url, *username, *password, *proxy_username, *proxy_password, *cookie;
    bool verify;
    uint64_t readahead, timeout_s;
    uint64_t size; /* bytes, any number */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t arrived;
    CURL *idle[IDLE_MAX]; /* connections that nobody uses */
    unsigned idle_count;
    struct window *windows[WINDOWS];
    uint64_t clock;
};

/* ---------------------------------------------------------------------- connections */

/* What an answer is put into. */
struct answer {
    uint8_t *to;
    uint64_t room, got;
    bool ranges; /* the server says that it knows ranges */
};

static size_t take_body(char *bytes, size_t size, size_t count, void *opaque)
{
    struct answer *answer = opaque;
    size_t len = size * count;
    /* More than was asked for: a server that ignores ranges. The transfer ends here. */
    if (len > answer->room - answer->got)
        return 0;
    memcpy(answer->to + answer->got, bytes, len);
    answer->got += len;
    return len;
}

static size_t take_header(char *line, size_t size, size_t count, void *opaque)
{
    static const char name[] = "accept-ranges:";
    struct answer *answer = opaque;
    size_t len = size * count, at = sizeof(name) - 1;
    if (len > at && strncasecmp(line, name, at) == 0) {
        while (at < len && (line[at] == ' ' || line[at] == '\t'))
            at++;
        answer->ranges = len - at >= 5 && strncasecmp(line + at, "bytes", 5) == 0;
    }
    return len;
}

static void set_up(const struct http *http, CURL *curl)
{
    lib.curl_easy_setopt(curl, CURLOPT_URL, http->url);
    lib.curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    lib.curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    lib.curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    lib.curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    lib.curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, (long)http->verify);
    lib.curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, http->verify ? 2L : 0L);
    /* A transfer takes as long as it needs; a server that says nothing does not. */
    lib.curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)http->timeout_s);
    lib.curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    lib.curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)http->timeout_s);
    lib.curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    lib.curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    lib.curl_easy_setopt(curl, CURLOPT_USERNAME, http->username);
    lib.curl_easy_setopt(curl, CURLOPT_PASSWORD, http->password);
    lib.curl_easy_setopt(curl, CURLOPT_PROXYUSERNAME, http->proxy_username);
    lib.curl_easy_setopt(curl, CURLOPT_PROXYPASSWORD, http->proxy_password);
    lib.curl_easy_setopt(curl, CURLOPT_COOKIE, http->cookie);
}

static CURL *get_connection(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    CURL *curl = http->idle_count ? http->idle[--http->idle_count] : NULL;
    pthread_mutex_unlock(&http->lock);
    if (!curl && (curl = lib.curl_easy_init()))
        set_up(http, curl);
    return curl;
}

static void put_connection(struct http *http, CURL *curl, bool good)
{
    pthread_mutex_lock(&http->lock);
    if (good && http->idle_count < IDLE_MAX) {
        http->idle[http->idle_count++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&http->lock);
    if (curl)
        lib.curl_easy_cleanup(curl);
}

static bool may_pass(CURLcode code)
{
    return code == CURLE_COULDNT_CONNECT || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_PARTIAL_FILE || code == CURLE_GOT_NOTHING ||
           code == CURLE_OPERATION_TIMEDOUT;
}

/* One GET. *again: another try may help. */
static int get_once(struct http *http, uint64_t offset, uint64_t len, uint8_t *to, bool *again)
{
    char range[48];
    long status = 0;
    struct answer answer = {.to = to, .room = len};
    CURL *curl = get_connection(http);
    *again = false;
    if (!curl)
        return -ENOMEM;
    snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, offset, offset + len - 1);
    lib.curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    lib.curl_easy_setopt(curl, CURLOPT_RANGE, range);
    lib.curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    lib.curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
    CURLcode code = lib.curl_easy_perform(curl);
    lib.curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    bool good = code == CURLE_OK && answer.got == len &&
                (status == 206 || (status == 200 && offset == 0 && len == http->size));
    put_connection(http, curl, good);
    *again = may_pass(code) || status == 503;
    return good ? 0 : -EIO;
}

static int get(struct http *http, uint64_t offset, uint64_t len, uint8_t *to)
{
    bool again = true;
    int rc = -EIO;
    for (unsigned i = 0; i < TRIES && again && rc < 0; i++) {
        const struct timespec pause = {.tv_nsec = (long)(RETRY_FIRST_MS << i) * 1000000L};
        if (i)
            nanosleep(&pause, NULL);
        rc = get_once(http, offset, len, to, &again);
    }
    return rc;
}

/* --------------------------------------------------------------------------- windows */

/* With the lock. */
static struct window *find_window(const struct http *http, uint64_t offset, uint64_t len)
{
    for (unsigned i = 0; i < WINDOWS; i++) {
        struct window *w = http->windows[i];
        if (w && !w->failed && offset >= w->start &&
            range_within(offset - w->start, len, 0, w->len))
            return w;
    }
    return NULL;
}

static void free_window(struct window *w)
{
    if (w)
        free(w->bytes);
    free(w);
}

/* With the lock: a place for another one, the longest unused goes. NULL: all are in use. */
static struct window **place_for_window(struct http *http)
{
    struct window **oldest = NULL;
    for (unsigned i = 0; i < WINDOWS; i++) {
        struct window **w = &http->windows[i];
        if (!*w)
            return w;
        if (!(*w)->users && (!oldest || (*w)->used < (*oldest)->used))
            oldest = w;
    }
    return oldest;
}

/* With the lock, but not while it is fetched. */
static int fetch_window(struct http *http, struct window **place, uint64_t offset, uint64_t len)
{
    struct window *w = calloc(1, sizeof(*w));
    if (w)
        w->bytes = malloc(len);
    if (!w || !w->bytes) {
        free_window(w);
        return -ENOMEM;
    }
    w->start = offset;
    w->len = len;
    w->pending = true;
    w->users = 1;
    free_window(*place);
    *place = w;
    pthread_mutex_unlock(&http->lock);
    int rc = get(http, offset, len, w->bytes);
    pthread_mutex_lock(&http->lock);
    w->pending = false;
    w->failed = rc < 0;
    w->users--;
    w->used = http->clock++;
    pthread_cond_broadcast(&http->arrived);
    return rc;
}

/* A range of the server's, out of a window that is there, on its way, or fetched now. */
static int read_range(struct http *http, uint64_t offset, uint64_t len, const struct iovec *iov,
                      unsigned count)
{
    int rc = 0;
    bool done = false;
    pthread_mutex_lock(&http->lock);
    while (!done && rc == 0) {
        struct window **place, *w = find_window(http, offset, len);
        if (w) {
            w->users++;
            while (w->pending)
                pthread_cond_wait(&http->arrived, &http->lock);
            if (!w->failed) {
                pthread_mutex_unlock(&http->lock);
                iov_from_buffer(iov, count, 0, w->bytes + (offset - w->start), len);
                pthread_mutex_lock(&http->lock);
                done = true;
            }
            w->users--;
            w->used = http->clock++;
        } else if ((place = place_for_window(http))) {
            rc = fetch_window(http, place, offset, MIN(len + http->readahead, http->size - offset));
        } else {
            break;
        }
    }
    pthread_mutex_unlock(&http->lock);
    if (done || rc < 0)
        return rc;
    cleanup_free uint8_t *buffer = malloc(len);
    rc = buffer ? get(http, offset, len, buffer) : -ENOMEM;
    if (rc == 0)
        iov_from_buffer(iov, count, 0, buffer, len);
    return rc;
}

static int http_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count)
{
    struct http *http = node->state;
    uint64_t there = offset < http->size ? MIN(len, http->size - offset) : 0;
    if (there < len)
        iov_from_buffer(iov, count, there, NULL, len - there);
    return there ? read_range(http, offset, there, iov, count) : 0;
}

/* ------------------------------------------------------------------------ open, close */

static int ask_size(struct http *http, struct kv_error *err)
{
    struct answer answer = {0};
    curl_off_t size = -1;
    char why[CURL_ERROR_SIZE] = "";
    CURL *curl = get_connection(http);
    if (!curl)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", http->url);
    lib.curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    lib.curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
    lib.curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    CURLcode code = lib.curl_easy_perform(curl);
    lib.curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    lib.curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    put_connection(http, curl, code == CURLE_OK);
    if (code != CURLE_OK)
        return kv_error_set(err, KV_ERR_BLOCK, EIO, "CURL: Error opening file: %s",
                            why[0] ? why : lib.curl_easy_strerror(code));
    if (size < 0 || (uint64_t)size > INT64_MAX - SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EIO, "Server didn't report file size.");
    if (size > 0 && !answer.ranges)
        return kv_error_set(err, KV_ERR_BLOCK, EIO,
                            "Server does not support 'range' (byte ranges).");
    http->size = (uint64_t)size;
    return 0;
}

static int take_text(char **to, const json_t *description, const char *name)
{
    const char *text = description_text(description, name);
    *to = text ? strdup(text) : NULL;
    return text && !*to ? -ENOMEM : 0;
}

static int take_secret(char **to, const json_t *description, const char *name, struct kv_error *err)
{
    const char *id = description_text(description, name);
    uint8_t *data;
    size_t len;
    if (!id)
        return 0;
    int rc = secret_get(id, &data, &len, err);
    if (rc < 0)
        return rc;
    free(*to);
    *to = strndup((char *)data, len);
    secret_release(data, len);
    return *to ? 0 : -ENOMEM;
}

static int parse(struct http *http, const struct block_open_options *options, struct kv_error *err)
{
    const json_t *d = options->description;
    const char *url = options->path ? options->path : description_text(d, "url");
    http->verify = true;
    http->readahead = READAHEAD_DEFAULT;
    http->timeout_s = TIMEOUT_DEFAULT_S;
    if (!url)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "curl block driver requires an 'url' option");
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': http://... or https://... is expected", url);
    description_bool(d, "sslverify", &http->verify);
    description_number(d, "readahead", &http->readahead);
    description_number(d, "timeout", &http->timeout_s);
    if (http->readahead % SECTOR || http->readahead > READAHEAD_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'readahead' must be a multiple of 512 up to 64 MiB");
    if (http->timeout_s < 1 || http->timeout_s > TIMEOUT_MAX_S)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'timeout' is 1 to %d seconds",
                            TIMEOUT_MAX_S);
    http->url = strdup(url);
    int rc = http->url ? take_text(&http->username, d, "username") : -ENOMEM;
    if (rc == 0)
        rc = take_text(&http->proxy_username, d, "proxy-username");
    if (rc == 0)
        rc = take_text(&http->cookie, d, "cookie");
    if (rc == 0 && http->cookie && description_text(d, "cookie-secret"))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "curl driver cannot handle both cookie and cookie secret");
    if (rc == 0)
        rc = take_secret(&http->cookie, d, "cookie-secret", err);
    if (rc == 0)
        rc = take_secret(&http->password, d, "password-secret", err);
    if (rc == 0)
        rc = take_secret(&http->proxy_password, d, "proxy-password-secret", err);
    return rc == -ENOMEM ? kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", url) : rc;
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void http_free(struct http *http)
{
    for (unsigned i = 0; i < http->idle_count; i++)
        lib.curl_easy_cleanup(http->idle[i]);
    for (unsigned i = 0; i < WINDOWS; i++)
        free_window(http->windows[i]);
    pthread_cond_destroy(&http->arrived);
    pthread_mutex_destroy(&http->lock);
    free(http->url);
    free(http->username);
    free(http->proxy_username);
    wipe(http->password);
    wipe(http->proxy_password);
    wipe(http->cookie);
    free(http);
}

static void http_close(struct block_node *node)
{
    http_free(node->state);
}

static void init_library(void)
{
    lib.curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int load_library(struct kv_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    library.alternative = "libcurl.so.4";
    int rc = library_load(&library, err);
    if (rc == 0)
        pthread_once(&once, init_library);
    return rc;
}

static int http_open(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct http *http = calloc(1, sizeof(*http));
    if (!http)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    pthread_mutex_init(&http->lock, NULL);
    pthread_cond_init(&http->arrived, NULL);
    int rc = options->readonly ? 0
                               : kv_error_set(err, KV_ERR_BLOCK, EACCES,
                                              "'%s': images over HTTP are read-only", node->name);
    if (rc == 0)
        rc = load_library(err);
    if (rc == 0)
        rc = parse(http, options, err);
    if (rc == 0)
        rc = ask_size(http, err);
    if (rc < 0) {
        http_free(http);
        return rc;
    }
    node->state = http;
    node->info = (struct block_info){
        .size = ALIGN_UP(http->size, SECTOR),
        .request_alignment = 1,
        .logical_block = SECTOR,
        .physical_block = 4096,
        .readonly = true,
        .discard_alignment = SECTOR,
    };
    return 0;
}

static int http_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    const struct http *http = node->state;
    *size = ALIGN_UP(http->size, SECTOR);
    return 0;
}

static int64_t http_allocated_size(const struct block_node *node)
{
    return -ENOTSUP;
}

static int http_status(struct block_node *node, uint64_t offset, uint64_t len,
                       struct block_extent *out)
{
    out->len = len;
    out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET | BLOCK_STATUS_DATA;
    out->host_offset = offset;
    out->file = node;
    return 0;
}

static const struct block_key http_keys[] = {
    {"cookie", BLOCK_KEY_TEXT},
    {"cookie-secret", BLOCK_KEY_TEXT},
    {"password-secret", BLOCK_KEY_TEXT},
    {"proxy-password-secret", BLOCK_KEY_TEXT},
    {"proxy-username", BLOCK_KEY_TEXT},
    {"readahead", BLOCK_KEY_NUMBER},
    {"sslverify", BLOCK_KEY_BOOL},
    {"timeout", BLOCK_KEY_NUMBER},
    {"url", BLOCK_KEY_TEXT},
    {"username", BLOCK_KEY_TEXT},
    {NULL, 0},
};

#define HTTP_DRIVER(name_, prefixes_)                                                        \
    {                                                                                        \
        .name = (name_), .keys = http_keys, .is_protocol = true, .prefixes = (prefixes_),    \
        .open = http_open, .close = http_close, .get_size = http_get_size,                   \
        .allocated_size = http_allocated_size, .preadv = http_preadv, .status = http_status, \
    }

static const char *const http_prefixes[] = {"http:", NULL};
static const char *const https_prefixes[] = {"https:", NULL};

const struct block_driver block_http_driver = HTTP_DRIVER("http", http_prefixes);
const struct block_driver block_https_driver = HTTP_DRIVER("https", https_prefixes);
