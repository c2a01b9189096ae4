/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Core files of guests: an ELF file as kdump and crash read them, a segment for
 * each range of guest-physical memory and a note with each vCPU's registers
 * (System V ABI, gabi 4.1; Linux elfcore.h). The monitor hands its memory's file
 * over, so that it has nothing to write itself.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define REGIONS_MAX 16
#define PAGE 4096u
#define CHUNK MIB(1)
#define SOCKET_NAME "kvasir-dump"

struct region {
    uint64_t address, size, offset;
};

struct dump {
    struct machine *machine;
    int memory, out;
    bool sparse; /* holes can be left */
    uint64_t at; /* bytes written */
    unsigned region_count;
    struct region regions[REGIONS_MAX];
    struct buffer notes;
    uint8_t *chunk;
};

/* ----------------------------------------------------------- from the monitor */

static int parse_regions(struct dump *dump, const json_t *list, struct kv_error *err)
{
    struct stat st;
    size_t i;
    json_t *item;
    if (fstat(dump->memory, &st) < 0 || json_array_size(list) > REGIONS_MAX)
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "the monitor's description of memory");
    json_array_foreach ((json_t *)list, i, item) {
        struct region *region = &dump->regions[dump->region_count++];
        region->address = (uint64_t)json_integer_value(json_object_get(item, "address"));
        region->size = (uint64_t)json_integer_value(json_object_get(item, "size"));
        region->offset = (uint64_t)json_integer_value(json_object_get(item, "offset"));
        if (!range_within(region->offset, region->size, 0, (uint64_t)st.st_size))
            return api_error(err, VIR_ERR_INTERNAL_ERROR, "the monitor's description of memory");
        atomic_fetch_add(&dump->machine->dump_total, region->size);
    }
    return 0;
}

static int get_memory(struct dump *dump, struct kv_error *err)
{
    struct monitor *monitor = dump->machine->monitor;
    int pair[2];
    char byte;
    size_t count = 1;
    json_t *answer = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "core dump");
    cleanup_fd int ours = pair[0], theirs = pair[1];
    int rc = monitor_call_fd(monitor, "getfd", json_pack("{s:s}", "fdname", SOCKET_NAME), theirs,
                             NULL, err);
    if (rc == 0)
        rc = monitor_call(monitor, "x-kvasir-share-memory",
                          json_pack("{s:s}", "fdname", SOCKET_NAME), &answer, 0, err);
    if (rc < 0)
        return rc;
    ssize_t n = fd_receive(ours, &byte, 1, &dump->memory, &count);
    if (n != 1 || count != 1)
        rc = api_error(err, VIR_ERR_INTERNAL_ERROR, "the monitor did not hand its memory over");
    if (rc == 0)
        rc = parse_regions(dump, json_object_get(answer, "regions"), err);
    json_decref(answer);
    return rc;
}

static uint64_t hex(const json_t *registers, const char *name)
{
    const char *text = json_string_value(json_object_get(registers, name));
    return text ? strtoull(text, NULL, 16) : 0;
}

static const struct {
    const char *name;
    size_t offset;
} register_map[] = {
#define REGISTER(name)                                 \
    {                                                  \
#name, offsetof(struct user_regs_struct, name) \
    }
#define RENAMED(theirs, ours)                           \
    {                                                   \
        theirs, offsetof(struct user_regs_struct, ours) \
    }
    REGISTER(r15),
    REGISTER(r14),
    REGISTER(r13),
    REGISTER(r12),
    REGISTER(rbp),
    REGISTER(rbx),
    REGISTER(r11),
    REGISTER(r10),
    REGISTER(r9),
    REGISTER(r8),
    REGISTER(rax),
    REGISTER(rcx),
    REGISTER(rdx),
    REGISTER(rsi),
    REGISTER(rdi),
    REGISTER(rip),
    REGISTER(cs),
    REGISTER(rsp),
    REGISTER(ss),
    REGISTER(ds),
    REGISTER(es),
    RENAMED("rflags", eflags),
    RENAMED("fs-base", fs_base),
    RENAMED("gs-base", gs_base),
};

static int add_note(struct dump *dump, const json_t *registers)
{
    static const char name[8] = "CORE";
    struct elf_prstatus status = {0};
    struct user_regs_struct regs = {0};
    const Elf64_Nhdr header = {
        .n_namesz = sizeof("CORE"), .n_descsz = sizeof(status), .n_type = NT_PRSTATUS};
    for (unsigned i = 0; i < ARRAY_SIZE(register_map); i++) {
        uint64_t value = hex(registers, register_map[i].name);
        memcpy((char *)&regs + register_map[i].offset, &value, sizeof(value));
    }
    memcpy(&status.pr_reg, &regs, sizeof(regs));
    status.pr_pid = (pid_t)json_integer_value(json_object_get(registers, "cpu-index")) + 1;
    int rc = buffer_append(&dump->notes, &header, sizeof(header));
    if (rc == 0)
        rc = buffer_append(&dump->notes, name, sizeof(name));
    return rc < 0 ? rc : buffer_append(&dump->notes, &status, ALIGN_UP(sizeof(status), 4u));
}

static int get_registers(struct dump *dump, struct kv_error *err)
{
    json_t *list = NULL, *item;
    size_t i;
    int rc = monitor_call(dump->machine->monitor, "x-kvasir-registers", NULL, &list, 0, err);
    json_array_foreach (list, i, item) {
        if (rc == 0 && add_note(dump, item) < 0)
            rc = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    json_decref(list);
    return rc;
}

/* ----------------------------------------------------------------- to the file */

static int put(struct dump *dump, const void *bytes, size_t len)
{
    int rc = fd_write_all(dump->out, bytes, len);
    dump->at += len;
    return rc;
}

/* A hole where the file can have one, else zeros. */
static int skip_to(struct dump *dump, uint64_t offset)
{
    int rc = 0;
    if (dump->sparse) {
        off_t by = (off_t)(offset - dump->at);
        dump->at = offset;
        return lseek(dump->out, by, SEEK_CUR) < 0 ? -errno : 0;
    }
    memset(dump->chunk, 0, CHUNK);
    while (rc == 0 && dump->at < offset)
        rc = put(dump, dump->chunk, MIN(offset - dump->at, CHUNK));
    return rc;
}

static int put_headers(struct dump *dump, uint64_t data)
{
    const Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof(header),
        .e_ehsize = sizeof(header),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (Elf64_Half)(dump->region_count + 1),
    };
    const Elf64_Phdr notes = {
        .p_type = PT_NOTE,
        .p_offset = sizeof(header) + (dump->region_count + 1) * sizeof(Elf64_Phdr),
        .p_filesz = dump->notes.len,
        .p_memsz = dump->notes.len,
    };
    int rc = put(dump, &header, sizeof(header));
    if (rc == 0)
        rc = put(dump, &notes, sizeof(notes));
    for (unsigned i = 0; i < dump->region_count && rc == 0; i++) {
        const struct region *region = &dump->regions[i];
        const Elf64_Phdr load = {
            .p_type = PT_LOAD,
            .p_offset = data,
            .p_paddr = region->address,
            .p_filesz = region->size,
            .p_memsz = region->size,
        };
        rc = put(dump, &load, sizeof(load));
        data += region->size;
    }
    return rc < 0 ? rc : put(dump, buffer_bytes(&dump->notes), dump->notes.len);
}

/* The next bytes that the guest ever touched. Files that cannot tell are all data. */
static uint64_t next_data(const struct dump *dump, uint64_t from, uint64_t end, uint64_t *until)
{
    off_t data = lseek(dump->memory, (off_t)from, SEEK_DATA);
    *until = end;
    if (data < 0)
        return errno == ENXIO ? end : from;
    off_t hole = lseek(dump->memory, data, SEEK_HOLE);
    if (hole > data)
        *until = MIN((uint64_t)hole, end);
    return MIN((uint64_t)data, end);
}

static int put_region(struct dump *dump, const struct region *region)
{
    uint64_t from = region->offset, end = region->offset + region->size, start = dump->at, until;
    int rc = 0;
    while (rc == 0 && from < end) {
        uint64_t data = next_data(dump, from, end, &until);
        rc = skip_to(dump, start + data - region->offset);
        for (from = data; rc == 0 && from < until;) {
            size_t len = MIN(until - from, CHUNK);
            rc = fd_pread_all(dump->memory, dump->chunk, len, from);
            if (rc == 0)
                rc = put(dump, dump->chunk, len);
            from += len;
            atomic_store(&dump->machine->dump_done, dump->at);
        }
    }
    return rc;
}

static int write_file(struct dump *dump, struct kv_error *err)
{
    struct stat st;
    uint64_t headers =
        sizeof(Elf64_Ehdr) + (dump->region_count + 1) * sizeof(Elf64_Phdr) + dump->notes.len;
    uint64_t data = ALIGN_UP(headers, (uint64_t)PAGE);
    dump->sparse = fstat(dump->out, &st) == 0 && S_ISREG(st.st_mode);
    off_t begin = dump->sparse ? lseek(dump->out, 0, SEEK_CUR) : 0;
    int rc = put_headers(dump, data);
    if (rc == 0)
        rc = skip_to(dump, data);
    for (unsigned i = 0; i < dump->region_count && rc == 0; i++)
        rc = put_region(dump, &dump->regions[i]);
    if (rc == 0 && dump->sparse && ftruncate(dump->out, begin + (off_t)dump->at) < 0)
        rc = -errno;
    return rc < 0 ? kv_error_errno(err, KV_ERR_CONTROL, -rc, "core file") : 0;
}

/* ------------------------------------------------------------------------ both */

/* Stops it for the time of the dump; *stopped: it has to go on afterwards. */
static int stop_for_dump(struct machine *machine, bool live, bool *stopped, struct kv_error *err)
{
    *stopped = !live && machine_get_state(machine, NULL) == MACHINE_RUNNING;
    if (!*stopped)
        return 0;
    pthread_mutex_lock(&machine->lock);
    machine->expected_pause = MACHINE_PAUSE_DUMP;
    pthread_mutex_unlock(&machine->lock);
    return machine_qmp(machine, "stop", NULL, NULL, err);
}

int machine_dump(struct machine *machine, int fd, bool live, struct kv_error *err)
{
    struct dump dump = {.machine = machine, .memory = -1, .out = fd, .notes = BUFFER_INIT(MIB(4))};
    bool stopped;
    int rc = machine_check_alive(machine, err);
    if (rc == 0)
        rc = stop_for_dump(machine, live, &stopped, err);
    if (rc < 0)
        return rc;
    atomic_store(&machine->dump_done, 0);
    atomic_store(&machine->dump_total, 0);
    dump.chunk = malloc(CHUNK);
    if (!dump.chunk)
        rc = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (rc == 0)
        rc = get_registers(&dump, err);
    if (rc == 0)
        rc = get_memory(&dump, err);
    if (rc == 0)
        rc = write_file(&dump, err);
    if (dump.memory >= 0)
        close(dump.memory);
    buffer_free(&dump.notes);
    free(dump.chunk);
    int again = stopped ? machine_cont(machine, rc ? NULL : err) : 0;
    return rc ? rc : again;
}

void machine_dump_progress(struct machine *machine, uint64_t *done, uint64_t *total)
{
    *total = atomic_load(&machine->dump_total);
    *done = MIN(atomic_load(&machine->dump_done), *total);
}
