/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors by number, and calls that carry them; files that are read whole. */
#include "cli/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/memory.h"

int fd_list_from_option(struct cli *cli, const char *option, struct fd_list *out)
{
    const char *text = NULL;
    *out = (struct fd_list){.n = 0};
    int r = arg_text(cli, option, &text);
    if (r <= 0)
        return r;
    out->list = cli_alloc(cli, (strlen(text) + 1) * sizeof(int));
    char *words = cli_text(cli, "%s", text);
    for (char *word; (word = strsep(&words, ","));) {
        char *end;
        long fd = strtol(word, &end, 10);
        if (end == word || *end || fd < 0 || fd > INT32_MAX)
            return cli_error(cli, "Unable to parse FD number '%s'", word);
        out->list[out->n++] = (int)fd;
    }
    return 0;
}

void *fd_list_call(struct cli *cli, const struct fd_list *fds,
                   const struct kvasir_procedure *procedure, const void *args)
{
    struct kvasir_call_fds with = {.send = fds->list, .n_send = fds->n};
    cli_forget_error(cli);
    void *ret = memory_for_results(cli, procedure);
    if (kvasir_call(cli->conn, procedure, args, ret, fds->n ? &with : NULL, &cli->error) < 0)
        return NULL;
    return ret;
}

/* libvirt's limit of a document. */
#define TEXT_FILE_MAX MIB(10)

char *read_whole_file(struct cli *cli, const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_fail(cli, VIR_ERR_SYSTEM_ERROR, "Failed to open file '%s': %s", path, strerror(errno));
        return NULL;
    }
    size_t len = 0, room = KIB(64);
    char *text = malloc(room + 1);
    ssize_t got = 0;
    while (text && len < TEXT_FILE_MAX && (got = read(fd, text + len, room - len)) > 0) {
        len += (size_t)got;
        if (len == room) {
            char *more = realloc(text, 2 * room + 1);
            if (!more)
                break;
            text = more;
            room *= 2;
        }
    }
    int error = got < 0 ? errno : len >= TEXT_FILE_MAX ? EOVERFLOW : 0;
    close(fd);
    char *copy = NULL;
    if (error)
        cli_fail(cli, VIR_ERR_SYSTEM_ERROR, "Failed to read file '%s': %s", path, strerror(error));
    else if (text)
        copy = memcpy(cli_alloc(cli, len + 1), text, len);
    free(text);
    *size = len;
    return copy;
}

char *read_text_file(struct cli *cli, const char *path)
{
    size_t len;
    return read_whole_file(cli, path, &len);
}
