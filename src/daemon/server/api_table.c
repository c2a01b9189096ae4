/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints the table of procedures; see api_table.h. */
#include "daemon/server/api_table.h"

#include "base/util.h"
#include "rpc/admin_procedure.h"
#include "rpc/qemu_procedure.h"

static bool is_in(const struct rpc_handler *handlers, unsigned number)
{
    for (; handlers && handlers->procedure; handlers++) {
        if (handlers->procedure == number)
            return true;
    }
    return false;
}

static const char *who_serves(const struct daemon_driver *const *drivers, unsigned number)
{
    for (const struct rpc_handler *const *own = rpc_own_handlers; *own; own++) {
        if (is_in(*own, number))
            return "server";
    }
    for (; *drivers; drivers++) {
        if (is_in((*drivers)->handlers, number))
            return (*drivers)->name;
    }
    return NULL;
}

static const char *qemu_server(const struct daemon_driver *const *drivers, unsigned number)
{
    for (; *drivers; drivers++) {
        if (is_in((*drivers)->qemu_handlers, number))
            return (*drivers)->name;
    }
    return NULL;
}

static bool is_event(const struct rpc_procedure *row)
{
    return row->flags & (RPC_EVENT | RPC_CALLBACK_EVENT);
}

static void print_row(const struct rpc_procedure *row, const char *server, FILE *to)
{
    char name[RPC_API_NAME_SIZE];
    rpc_procedure_api_name(row, name);
    const char *needs = is_event(row)            ? "event"
                        : row->flags & RPC_WRITE ? "read-write"
                                                 : "read-only";
    fprintf(to, "| %u | %s | %s | %s%s%s |\n", row->number, name,
            server          ? server
            : is_event(row) ? "sent when it happens"
                            : "-",
            needs, row->flags & RPC_PRIORITY ? ", priority" : "",
            row->flags & RPC_STREAM ? ", stream" : "");
}

static void print_head(const char *title, unsigned served, unsigned all, FILE *to)
{
    fprintf(to,
            "\n## %s\n\n%u of %u procedures are served.\n\n"
            "| number | procedure | served by | connection |\n| --- | --- | --- | --- |\n",
            title, served, all);
}

void api_table_print(const struct daemon_driver *const *drivers, FILE *to)
{
    unsigned served = 0, all = 0;
    fputs(
        "# libvirt's API\n\n"
        "`kvasird` speaks libvirt's remote protocol. This is every procedure of it, made by\n"
        "`kvasird --dump-api`. One that nobody serves (-) answers `VIR_ERR_NO_SUPPORT`. One that\n"
        "needs a read-write connection answers `VIR_ERR_OPERATION_DENIED` on a read-only one.\n"
        "Those with priority get through when all workers wait for machines.\n",
        to);
    for (unsigned n = 0; n < REMOTE_PROC_END; n++) {
        if (remote_procedures[n].name && !is_event(&remote_procedures[n])) {
            all++;
            served += who_serves(drivers, n) != NULL;
        }
    }
    print_head("The remote program (0x20008086)", served, all, to);
    for (unsigned n = 0; n < REMOTE_PROC_END; n++) {
        if (remote_procedures[n].name)
            print_row(&remote_procedures[n], who_serves(drivers, n), to);
    }
    served = all = 0;
    for (unsigned n = 1; n < QEMU_PROC_END; n++) {
        all += !is_event(&qemu_procedures[n]);
        served += qemu_server(drivers, n) != NULL;
    }
    print_head("The QEMU program (0x20008087)", served, all, to);
    for (unsigned n = 1; n < QEMU_PROC_END; n++)
        print_row(&qemu_procedures[n], qemu_server(drivers, n), to);
    print_head("The administration program (0x06900690)", ADMIN_PROC_END - 1, ADMIN_PROC_END - 1,
               to);
    for (unsigned n = 1; n < ADMIN_PROC_END; n++)
        print_row(&admin_procedures[n], "server", to);
}
