/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who opens taps and packet sockets; see opener.h. */
#include "switch/ports/opener.h"

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "switch/ports/inherited.h"
#include "switch/ports/interface.h"
#include "switch/ports/tap.h"
#include "switch/ports/uplink.h"

#define OWN_FD 3 /* of the process that opens; beside it only standard error is kept */

/* Over a SOCK_SEQPACKET pair. The answer is a struct kv_error, with a descriptor where its code is
 * 0. */
struct question {
    uint32_t kind;
    char interface[IFNAMSIZ];
};

static int socket_to_opener = -1;

const char *const opener_kind_names[OPENER_KINDS] = {
    [OPENER_TAP] = "tap", [OPENER_UPLINK] = "uplink"};

static int open_here(uint32_t kind, const char *interface, struct kv_error *err)
{
    static int (*const open_kind[])(const char *interface, struct kv_error *err) = {
        [OPENER_TAP] = tap_open,
        [OPENER_UPLINK] = uplink_open,
    };
    if (kind >= ARRAY_SIZE(open_kind))
        return kv_error_set(err, KV_ERR_NET, EINVAL, "nothing of kind %u can be opened", kind);
    int rc = interface_check_name(interface, err);
    return rc < 0 ? rc : open_kind[kind](interface, err);
}

/* --- The process that opens ------------------------------------------------- */

static void serve(void)
{
    struct question question;
    ssize_t n;
    while ((n = recv(OWN_FD, &question, sizeof(question), 0)) == sizeof(question) ||
           (n < 0 && errno == EINTR)) {
        struct kv_error err = {0};
        if (n < 0)
            continue;
        question.interface[IFNAMSIZ - 1] = '\0';
        int fd = open_here(question.kind, question.interface, &err);
        n = fd_send(OWN_FD, &err, sizeof(err), &fd, fd >= 0);
        if (fd >= 0)
            close(fd);
        if (n < 0)
            return;
    }
}

static _Noreturn void opener_main(int own, void (*enter)(void))
{
    if (dup2(own, OWN_FD) < 0)
        _exit(1);
    syscall(SYS_close_range, OWN_FD + 1, ~0U, 0);
    syscall(SYS_close_range, 0, STDERR_FILENO - 1, 0);
    signal(SIGINT, SIG_IGN); /* a terminal's ^C is for the switch, which ends us */
    prctl(PR_SET_NAME, "kvasir-opener");
    enter();
    serve();
    _exit(0);
}

/* --- The switch --------------------------------------------------------------- */

int opener_start(void (*enter)(void), struct kv_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return kv_error_errno(err, KV_ERR_JAIL, errno, "sockets to who opens interfaces");
    signal(SIGCHLD, SIG_IGN); /* nobody waits for its end */
    pid_t pid = fork();
    if (pid == 0)
        opener_main(pair[1], enter);
    int code = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return kv_error_errno(err, KV_ERR_JAIL, code, "process that opens interfaces");
    }
    socket_to_opener = pair[0];
    return 0;
}

int opener_open(enum opener_kind kind, const char *interface, struct kv_error *err)
{
    int given = inherited_take(opener_kind_names[kind], interface);
    if (given >= 0)
        return given;
    if (socket_to_opener < 0)
        return open_here(kind, interface, err);
    struct question question = {.kind = kind};
    struct kv_error answer = {0};
    int rc = interface_check_name(interface, err), fd = -1;
    size_t count = 1;
    if (rc < 0)
        return rc;
    snprintf(question.interface, sizeof(question.interface), "%s", interface);
    ssize_t n = fd_send(socket_to_opener, &question, sizeof(question), NULL, 0);
    if (n > 0)
        n = fd_receive(socket_to_opener, &answer, sizeof(answer), &fd, &count);
    if (n != sizeof(answer))
        return kv_error_set(err, KV_ERR_NET, EPIPE,
                            "interface '%s': the process that opens interfaces is gone; the switch "
                            "must be started anew",
                            interface);
    if (answer.code) {
        *err = answer;
        return -answer.code;
    }
    return fd;
}
