/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * logs: the last lines that a machine's monitor wrote. They lie in the daemon's state folder on
 * its host; which one that is, the daemon's own process says (its peer on the socket).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"

#define TAIL KIB(256)
#define DEFAULT_LINES 20

/* The argument behind --state-dir of a process; NULL: none. */
static const char *state_dir_of(struct cli *cli, pid_t pid)
{
    char words[4096];
    cleanup_fd int fd = open(cli_text(cli, "/proc/%d/cmdline", (int)pid), O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, words, sizeof(words) - 1);
    if (len <= 0)
        return NULL;
    words[len] = '\0';
    for (const char *word = words; word < words + len; word += strlen(word) + 1) {
        if (strncmp(word, "--state-dir=", 12) == 0)
            return cli_text(cli, "%s", word + 12);
        if (strcmp(word, "--state-dir") == 0 && word + 12 < words + len)
            return cli_text(cli, "%s", word + strlen(word) + 1);
    }
    return NULL;
}

static const char *log_dir(struct cli *cli)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    const char *home = getenv("HOME"), *data = getenv("XDG_DATA_HOME");
    bool local = getsockopt(kvasir_conn_fd(cli->conn), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    const char *given = local ? state_dir_of(cli, peer.pid) : NULL;
    if (!local)
        return NULL;
    if (given)
        return cli_text(cli, "%s/log", given);
    if (peer.uid == 0)
        return "/var/lib/kvasir/log";
    if (data && *data)
        return cli_text(cli, "%s/kvasir/log", data);
    return cli_text(cli, "%s/.local/share/kvasir/log", home ? home : "");
}

int logs_show(struct cli *cli)
{
    int lines = DEFAULT_LINES;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_int(cli, "lines", &lines) < 0)
        return -1;
    if (lines < 0)
        return cli_error(cli, "--lines %d: how many can only be 0 or more", lines);
    const char *folder = log_dir(cli);
    if (!folder)
        return cli_error(cli, "the logs lie on the daemon's host, which is another one");
    const char *path = cli_text(cli, "%s/%s.log", folder, domain->name);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return cli_error(cli, "machine '%s' has no log: it was never started (%s)", domain->name,
                         path);
    if (fd < 0) {
        cli_error(cli, "cannot read %s: %s", path, strerror(errno));
        cli_hint(cli, "logs belong to the daemon's user: try it with sudo");
        return -1;
    }
    struct stat st;
    off_t size = fstat(fd, &st) == 0 ? st.st_size : 0,
          from = size > (off_t)TAIL ? size - (off_t)TAIL : 0;
    char *text = cli_alloc(cli, TAIL + 1);
    ssize_t len = pread(fd, text, TAIL, from);
    const char *at = text + MAX(len, 0);
    if (at > text && at[-1] == '\n')
        at--;
    for (int n = 0; at > text && (at[-1] != '\n' || ++n < lines); at--)
        ;
    if (cli->json)
        return out_document(cli, "log", at);
    fputs(at, stdout);
    return 0;
}
