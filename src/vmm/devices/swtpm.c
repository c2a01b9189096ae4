/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control channel of swtpm(8) (its man/man3/swtpm_ioctls): a number in
 * network order, what belongs to it, and an answer that begins with a TPM's
 * result, 0 when all is well. See swtpm.h. Called by tpm.c on the thread that
 * makes the machine and on the control thread.
 */
#include "vmm/devices/swtpm.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "vmm/hex_state.h"

enum command {
    GET_CAPABILITY = 1,
    INIT = 2,
    CANCEL_TPM_CMD = 9,
    GET_STATEBLOB = 12,
    SET_STATEBLOB = 13,
    STOP = 14,
    SET_DATAFD = 16,
    SET_BUFFERSIZE = 17,
};

/* What it must be able to do, as it tells; bits of GET_CAPABILITY's answer. */
#define CAPABILITIES_NEEDED                                                       \
    (BIT(0) /* INIT */ | BIT(5) /* CANCEL */ | BIT(8) /* GET_STATEBLOB */ |       \
     BIT(9) /* SET_STATEBLOB */ | BIT(10) /* STOP */ | BIT(12) /* SET_DATAFD */ | \
     BIT(13) /* SET_BUFFERSIZE */)

#define PATIENCE_MS 10000
#define BLOB_MAX MIB(1)
#define RESULT_NOT_FATAL 0x800 /* of a part that it has none of */

static const struct {
    const char *name;
    uint32_t type;
} blobs[] = {{"permanent", 1}, {"volatile", 2}, {"save-state", 3}};

uint32_t swtpm_message_size(const uint8_t *header)
{
    uint32_t size;
    memcpy(&size, header + 2, sizeof(size));
    return be32toh(size);
}

void swtpm_close(struct swtpm *tpm)
{
    if (tpm->control >= 0)
        close(tpm->control);
    if (tpm->data >= 0)
        close(tpm->data);
    *tpm = SWTPM_INIT;
}

/* ---------------------------------------------------------------- conversation */

static int receive(int fd, void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        int rc = poll(&poller, 1, PATIENCE_MS);
        if (rc == 0)
            return -ETIMEDOUT;
        ssize_t n = rc < 0 ? -1 : read(fd, (char *)bytes + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ECONNRESET;
        done += (size_t)n;
    }
    return 0;
}

/* A peer that is gone is an error, not a signal. */
static int give(int fd, const void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)bytes + done, len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

/* words[0 .. sent) follow the command, then len bytes; answer words come back. */
static int converse(struct swtpm *tpm, enum command command, const uint32_t *words, unsigned sent,
                    const void *bytes, size_t len, uint32_t *answer, unsigned count)
{
    uint32_t request[4] = {htobe32(command)};
    for (unsigned i = 0; i < sent; i++)
        request[i + 1] = htobe32(words[i]);
    int rc = give(tpm->control, request, (sent + 1) * sizeof(request[0]));
    if (rc == 0 && len)
        rc = give(tpm->control, bytes, len);
    if (rc == 0)
        rc = receive(tpm->control, answer, count * sizeof(answer[0]));
    for (unsigned i = 0; rc == 0 && i < count; i++)
        answer[i] = be32toh(answer[i]);
    return rc;
}

static int explain(const char *what, int rc, uint32_t result, struct kv_error *err)
{
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, -rc, "swtpm: %s", what);
    return result ? kv_error_set(err, KV_ERR_DEVICE, EIO, "swtpm: %s: it answers with 0x%x", what,
                                 result)
                  : 0;
}

/* One number goes there, one comes back. */
static int tell(struct swtpm *tpm, enum command command, const uint32_t *word, const char *what,
                struct kv_error *err)
{
    uint32_t result = 0;
    int rc = converse(tpm, command, word, word ? 1 : 0, NULL, 0, &result, 1);
    return explain(what, rc, result, err);
}

/* ---------------------------------------------------------------- opening */

static int connect_to(const char *path, struct kv_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return kv_error_set(err, KV_ERR_DEVICE, ENAMETOOLONG, "swtpm: path '%s' is too long", path);
    strcpy(address.sun_path, path);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "swtpm: '%s'", path);
    return take_fd(&fd);
}

static int give_data_socket(struct swtpm *tpm, int theirs, struct kv_error *err)
{
    uint32_t command = htobe32(SET_DATAFD), result = 0;
    struct iovec iov = {.iov_base = &command, .iov_len = sizeof(command)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &theirs, sizeof(theirs));
    int rc = sendmsg(tpm->control, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
    if (rc == 0)
        rc = receive(tpm->control, &result, sizeof(result));
    return explain("giving it a socket for commands", rc, be32toh(result), err);
}

static int make_data_socket(struct swtpm *tpm, struct kv_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "swtpm: a socket for commands");
    tpm->data = pair[0];
    int rc = give_data_socket(tpm, pair[1], err);
    close(pair[1]);
    return rc < 0 ? rc : fd_set_nonblocking(tpm->data, true);
}

static int check_capabilities(struct swtpm *tpm, struct kv_error *err)
{
    uint32_t answer[2] = {0};
    int rc = converse(tpm, GET_CAPABILITY, NULL, 0, NULL, 0, answer, 2);
    uint64_t capabilities = (uint64_t)answer[0] << 32 | answer[1];
    if (rc == 0 && (capabilities & CAPABILITIES_NEEDED) != CAPABILITIES_NEEDED)
        return kv_error_set(
            err, KV_ERR_DEVICE, ENOTSUP, "swtpm: it has the abilities 0x%llx; 0x%llx are needed",
            (unsigned long long)capabilities, (unsigned long long)CAPABILITIES_NEEDED);
    return explain("asking for its abilities", rc, 0, err);
}

static int agree_on_buffer(struct swtpm *tpm, uint32_t buffer, struct kv_error *err)
{
    uint32_t answer[4] = {0}; /* result, size, least, largest */
    int rc = converse(tpm, SET_BUFFERSIZE, &buffer, 1, NULL, 0, answer, 4);
    if (rc == 0 && answer[0] == 0 && answer[1] > buffer)
        return kv_error_set(err, KV_ERR_DEVICE, ENOTSUP,
                            "swtpm: its commands have up to %u bytes; %u are possible", answer[1],
                            buffer);
    return explain("agreeing on the size of commands", rc, answer[0], err);
}

static int switch_on(struct swtpm *tpm, uint32_t buffer, struct kv_error *err)
{
    const uint32_t flags = 0;
    int rc = agree_on_buffer(tpm, buffer, err);
    return rc < 0 ? rc : tell(tpm, INIT, &flags, "switching it on", err);
}

int swtpm_restart(struct swtpm *tpm, uint32_t buffer, struct kv_error *err)
{
    int rc = tell(tpm, STOP, NULL, "switching it off", err);
    return rc < 0 ? rc : switch_on(tpm, buffer, err);
}

/* A TPM 1.2 answers commands of 2.0 with a tag and a code of its own. */
static int check_version(struct swtpm *tpm, struct kv_error *err)
{
    static const uint8_t self_test[] = {0x80, 0x01, 0, 0, 0, 11, 0, 0, 1, 0x43, 0};
    uint8_t answer[SWTPM_HEADER] = {0};
    int rc = give(tpm->data, self_test, sizeof(self_test));
    if (rc == 0)
        rc = receive(tpm->data, answer, sizeof(answer));
    if (rc == 0 && (answer[0] != 0x80 || answer[1] != 0x01))
        return kv_error_set(err, KV_ERR_DEVICE, ENOTSUP,
                            "swtpm: it is a TPM 1.2; 2.0 is supported (swtpm's option --tpm2)");
    return explain("a first command", rc, 0, err);
}

int swtpm_open(struct swtpm *tpm, const char *where, uint32_t buffer, struct kv_error *err)
{
    int fd = -1;
    char more;
    *tpm = SWTPM_INIT;
    if (strncmp(where, "unix:", 5) == 0)
        fd = connect_to(where + 5, err);
    else if (sscanf(where, "fd:%d%c", &fd, &more) != 1 || fd < 0)
        fd = kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                          "swtpm: '%s' is no socket; accepted: unix:PATH, fd:N", where);
    if (fd < 0)
        return fd;
    tpm->control = fd;
    fd_set_nonblocking(fd, false);
    int rc = check_capabilities(tpm, err);
    if (rc == 0)
        rc = make_data_socket(tpm, err);
    if (rc == 0)
        rc = switch_on(tpm, buffer, err);
    if (rc == 0)
        rc = check_version(tpm, err);
    if (rc == 0)
        rc = swtpm_restart(tpm, buffer, err); /* the guest's is the first command */
    if (rc < 0)
        swtpm_close(tpm);
    return rc;
}

int swtpm_cancel(struct swtpm *tpm, struct kv_error *err)
{
    return tell(tpm, CANCEL_TPM_CMD, NULL, "cancelling a command", err);
}

/* ---------------------------------------------------------------- state */

static json_t *save_blob(struct swtpm *tpm, uint32_t type, struct kv_error *err)
{
    const uint32_t words[] = {0, type, 0}; /* flags, type, offset */
    uint32_t answer[4] = {0};              /* result, flags, bytes of all, bytes that follow */
    int rc = converse(tpm, GET_STATEBLOB, words, 3, NULL, 0, answer, 4);
    if (explain("reading its state", rc, answer[0] & RESULT_NOT_FATAL ? 0 : answer[0], err) < 0)
        return NULL;
    if (answer[2] > BLOB_MAX || answer[2] != answer[3]) {
        kv_error_set(err, KV_ERR_DEVICE, EPROTO, "swtpm: its state has %u bytes, of which %u come",
                     answer[2], answer[3]);
        return NULL;
    }
    cleanup_free uint8_t *bytes = malloc(answer[3] + 1);
    rc = bytes ? receive(tpm->control, bytes, answer[3]) : -ENOMEM;
    if (explain("reading its state", rc, 0, err) < 0)
        return NULL;
    return json_pack("{s:I, s:I, s:o}", "flags", (json_int_t)answer[1], "size",
                     (json_int_t)answer[3], "bytes", hex_state_save(bytes, answer[3]));
}

json_t *swtpm_save(struct swtpm *tpm, struct kv_error *err)
{
    json_t *out = json_object();
    for (unsigned i = 0; i < ARRAY_SIZE(blobs); i++) {
        json_t *blob = save_blob(tpm, blobs[i].type, err);
        if (!blob) {
            json_decref(out);
            return NULL;
        }
        json_object_set_new(out, blobs[i].name, blob);
    }
    return out;
}

static int load_blob(struct swtpm *tpm, uint32_t type, const json_t *blob, struct kv_error *err)
{
    json_int_t flags, size;
    json_t *text;
    uint32_t result = 0;
    if (!blob ||
        json_unpack((json_t *)blob, "{s:I, s:I, s:o}", "flags", &flags, "size", &size, "bytes",
                    &text) < 0 ||
        size < 0 || size > (json_int_t)BLOB_MAX)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL, "swtpm: the state lacks one of its parts");
    cleanup_free uint8_t *bytes = malloc((size_t)size + 1);
    if (!bytes || !hex_state_load(text, bytes, (size_t)size))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "swtpm: the state is not as long as it says");
    const uint32_t words[] = {(uint32_t)flags, type, (uint32_t)size};
    int rc = size ? converse(tpm, SET_STATEBLOB, words, 3, bytes, (size_t)size, &result, 1) : 0;
    return explain("giving it its state", rc, result, err);
}

int swtpm_load(struct swtpm *tpm, const json_t *state, uint32_t buffer, struct kv_error *err)
{
    int rc = tell(tpm, STOP, NULL, "switching it off", err);
    for (unsigned i = 0; rc == 0 && i < ARRAY_SIZE(blobs); i++)
        rc = load_blob(tpm, blobs[i].type, json_object_get(state, blobs[i].name), err);
    return rc < 0 ? rc : switch_on(tpm, buffer, err);
}
