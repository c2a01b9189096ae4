/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of machines to files, and the jobs that do it; pictures of screens. */
#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/args.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

/* As libvirt's clients: paths are the daemon's, so relative ones are made whole here. */
static char *absolute(struct cli *cli, const char *path)
{
    char *folder = *path == '/' ? NULL : getcwd(NULL, 0);
    char *whole = folder ? cli_text(cli, "%s/%s", folder, path) : cli_text(cli, "%s", path);
    free(folder);
    return whole;
}

static int dump_format(struct cli *cli, int *format)
{
    static const char *const formats[] = {"elf", "kdump-zlib", "kdump-lzo", "kdump-snappy",
                                          "win-dmp"};
    const char *name = NULL;
    *format = 0;
    int r = arg_text(cli, "format", &name);
    if (r <= 0)
        return r;
    if (!arg_on(cli, "memory-only"))
        return cli_error(cli, "--format only works with --memory-only");
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (strcmp(formats[i], name) == 0) {
            *format = (int)i;
            return 0;
        }
    return cli_error(cli,
                     "format '%s' is not supported, expecting 'kdump-zlib', 'kdump-lzo', "
                     "'kdump-snappy', 'win-dmp' or 'elf'",
                     name);
}

/* A terminal had its bar; elsewhere --verbose says how it ended, as virsh does. */
static void tell_end(const struct cli *cli, const char *what, bool done)
{
    if (done && arg_on(cli, "verbose") && !isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s: [100 %%]", what);
}

int domain_dump(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"live", VIR_DUMP_LIVE},
        {"crash", VIR_DUMP_CRASH},
        {"bypass-cache", VIR_DUMP_BYPASS_CACHE},
        {"reset", VIR_DUMP_RESET},
        {"memory-only", VIR_DUMP_MEMORY_ONLY},
        {NULL},
    };
    const wire_domain *domain = lookup_domain(cli);
    const char *path = NULL;
    int format;
    if (!domain || arg_text(cli, "file", &path) < 0)
        return -1;
    if (arg_exclusive(cli, "live", "crash") < 0 || arg_exclusive(cli, "crash", "reset") < 0 ||
        arg_exclusive(cli, "live", "reset") < 0 || dump_format(cli, &format) < 0)
        return -1;
    unsigned flags = arg_flags(cli, flags_of);
    char *to = absolute(cli, path);
    progress_start(cli, "dump", domain->name);
    bool done = format
                    ? CALL(cli, DOMAIN_CORE_DUMP_WITH_FORMAT, .dom = *domain, .to = to,
                           .dumpformat = (u_int)format, .flags = flags) != NULL
                    : CALL(cli, DOMAIN_CORE_DUMP, .dom = *domain, .to = to, .flags = flags) != NULL;
    progress_end();
    tell_end(cli, "Dump", done);
    if (!done)
        return cli_error(cli, "Failed to core dump domain '%s' to %s", domain->name, path);
    return out_done(cli, "\nDomain '%s' dumped to %s", domain->name, path);
}

static unsigned save_flags(const struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"bypass-cache", VIR_DOMAIN_SAVE_BYPASS_CACHE},
        {"running", VIR_DOMAIN_SAVE_RUNNING},
        {"paused", VIR_DOMAIN_SAVE_PAUSED},
        {NULL},
    };
    return arg_flags(cli, flags_of);
}

int domain_save(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *path = NULL, *xml_path = NULL;
    if (!domain || arg_text(cli, "file", &path) < 0 || arg_text(cli, "xml", &xml_path) < 0)
        return -1;
    wire_text xml = xml_path ? read_text_file(cli, xml_path) : NULL;
    if (xml_path && !xml)
        return -1;
    unsigned flags = save_flags(cli);
    char *to = absolute(cli, path);
    progress_start(cli, "save", domain->name);
    bool done = flags || xml ? CALL(cli, DOMAIN_SAVE_FLAGS, .dom = *domain, .to = to,
                                    .dxml = xml ? &xml : NULL, .flags = flags) != NULL
                             : CALL(cli, DOMAIN_SAVE, .dom = *domain, .to = to) != NULL;
    progress_end();
    tell_end(cli, "Save", done);
    if (!done)
        return cli_error(cli, "Failed to save domain '%s' to %s", domain->name, path);
    return out_done(cli, "\nDomain '%s' saved to %s", domain->name, path);
}

int domain_managed_save(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    progress_start(cli, "save", domain->name);
    bool done = CALL(cli, DOMAIN_MANAGED_SAVE, .dom = *domain, .flags = save_flags(cli)) != NULL;
    progress_end();
    tell_end(cli, "Managedsave", done);
    if (!done)
        return cli_error(cli, "Failed to save domain '%s' state", domain->name);
    return out_done(cli, "\nDomain '%s' state saved by libvirt", domain->name);
}

int domain_managed_save_remove(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    const REMOTE_RET(DOMAIN_HAS_MANAGED_SAVE_IMAGE) *there =
        CALL(cli, DOMAIN_HAS_MANAGED_SAVE_IMAGE, .dom = *domain);
    if (!there)
        return cli_error(cli, "Failed to check for domain managed save image");
    if (!there->result)
        return out_phrase(cli, "Domain '%s' has no manage save image; removal skipped",
                          domain->name);
    if (!CALL(cli, DOMAIN_MANAGED_SAVE_REMOVE, .dom = *domain))
        return cli_error(cli, "Failed to remove managed save image for domain '%s'", domain->name);
    return out_phrase(cli, "Removed managedsave image for domain '%s'", domain->name);
}

/* managedsave-dumpxml, managedsave-define, managedsave-edit. */
int domain_managed_save_xml(struct cli *cli)
{
    const char *path = NULL;
    wire_text xml = NULL;
    if (arg_text(cli, "xml", &path) < 0 || (path && !(xml = read_text_file(cli, path))))
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (xml) {
        if (!CALL(cli, DOMAIN_MANAGED_SAVE_DEFINE_XML, .dom = *domain, .dxml = &xml,
                  .flags = save_flags(cli)))
            return cli_error(cli, "Failed to update %s XML configuration", domain->name);
        return out_done(cli, "Managed save state file of domain '%s' updated.", domain->name);
    }
    unsigned flags = arg_on(cli, "security-info") ? VIR_DOMAIN_XML_SECURE : 0;
    const REMOTE_RET(DOMAIN_MANAGED_SAVE_GET_XML_DESC) *got =
        CALL(cli, DOMAIN_MANAGED_SAVE_GET_XML_DESC, .dom = *domain, .flags = flags);
    return got ? xml_print(cli, got->xml) : -1;
}

int domain_job_info(struct cli *cli)
{
    static const char *const types[] = {"None",      "Bounded", "Unbounded",
                                        "Completed", "Failed",  "Cancelled"};
    static const struct arg_flag flags_of[] = {
        {"completed", VIR_DOMAIN_JOB_STATS_COMPLETED},
        {"keep-completed", VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED},
        {"anystats", 0},
        {NULL},
    };
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_requires(cli, "keep-completed", "completed") < 0)
        return -1;
    const REMOTE_RET(DOMAIN_GET_JOB_STATS) *job =
        CALL(cli, DOMAIN_GET_JOB_STATS, .dom = *domain, .flags = arg_flags(cli, flags_of));
    if (!job)
        return -1;
    if (arg_on(cli, "rawstats")) {
        out_print(cli, "Job type: %d\n\n", job->type);
        out_key(cli, "job_type", "%d", job->type);
        for (unsigned i = 0; i < job->params.params_len; i++) {
            const wire_param *param = &job->params.params_val[i];
            out_print(cli, "%s: %s\n", param->field, param_text(cli, param));
            out_key(cli, param->field, "%s", param_text(cli, param));
        }
        return 0;
    }
    const char *type =
        job->type >= 0 && (size_t)job->type < ARRAY_SIZE(types) ? types[job->type] : "unknown";
    out_print(cli, "%-17s %-12s\n", "Job type:", type);
    out_key(cli, "job_type", "%s", type);
    for (unsigned i = 0; job->type != VIR_DOMAIN_JOB_NONE && i < job->params.params_len; i++) {
        const wire_param *param = &job->params.params_val[i];
        out_print(cli, "%-17s %s\n", cli_text(cli, "%s:", param->field), param_text(cli, param));
        out_key(cli, param->field, "%s", param_text(cli, param));
    }
    return 0;
}

int domain_job_abort(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (arg_on(cli, "postcopy"))
        return CALL(cli, DOMAIN_ABORT_JOB_FLAGS, .dom = *domain, .flags = 1) ? 0 : -1;
    return CALL(cli, DOMAIN_ABORT_JOB, .dom = *domain) ? 0 : -1;
}

/* The file's name when none is given: machine, time and the picture's kind. */
static const char *picture_name(struct cli *cli, const char *name, const char *mime)
{
    char at[64];
    time_t now = time(NULL);
    struct tm parts;
    localtime_r(&now, &parts);
    strftime(at, sizeof(at), "%Y-%m-%d-%H:%M:%S", &parts);
    const char *suffix = strcmp(mime, "image/png") == 0                 ? ".png"
                         : strcmp(mime, "image/x-portable-pixmap") == 0 ? ".ppm"
                                                                        : "";
    return cli_text(cli, "%s-%s%s", name, at, suffix);
}

static int save_picture(struct cli *cli, struct kvasir_stream *stream, const char *file)
{
    cleanup_fd int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return cli_error(cli, "cannot create file %s", file);
    char bytes[65536];
    ssize_t n;
    while ((n = kvasir_stream_receive(stream, bytes, sizeof(bytes), 0, &cli->error)) > 0)
        if (write(fd, bytes, (size_t)n) != n)
            return cli_error(cli, "cannot write %s: %s", file, strerror(errno));
    return (int)n;
}

int domain_screenshot(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *file = NULL;
    unsigned screen = 0;
    if (!domain || arg_text(cli, "file", &file) < 0 || arg_uint(cli, "screen", &screen) < 0)
        return -1;
    struct kvasir_domain *object = kvasir_domain_from_wire(cli->conn, domain, &cli->error);
    struct kvasir_stream *stream = NULL;
    char *mime = NULL;
    int r = object ? kvasir_domain_screenshot(object, screen, 0, &mime, &stream, &cli->error) : -1;
    kvasir_domain_free(object);
    if (r < 0)
        return cli_error(cli, "could not take a screenshot of %s", domain->name);
    cleanup_free char *kind = mime;
    if (!file)
        file = picture_name(cli, domain->name, kind ? kind : "");
    r = save_picture(cli, stream, file);
    if (r < 0)
        cli_error(cli, "could not receive data from domain '%s'", domain->name);
    kvasir_stream_free(stream);
    return r < 0
               ? -1
               : out_phrase(cli, "Screenshot saved to %s, with type of %s", file, kind ? kind : "");
}
