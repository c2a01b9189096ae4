/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkdeviotune: limits of a disk. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/params.h"
#include "cli/verbs.h"

static const struct param_option limits[] = {
    {"total-bytes-sec", VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC, PARAM_SIZE},
    {"read-bytes-sec", VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC, PARAM_SIZE},
    {"write-bytes-sec", VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC, PARAM_SIZE},
    {"total-bytes-sec-max", VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX, PARAM_SIZE},
    {"read-bytes-sec-max", VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC_MAX, PARAM_SIZE},
    {"write-bytes-sec-max", VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC_MAX, PARAM_SIZE},
    {"total-iops-sec", VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC, PARAM_SIZE},
    {"read-iops-sec", VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC, PARAM_SIZE},
    {"write-iops-sec", VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC, PARAM_SIZE},
    {"total-iops-sec-max", VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX, PARAM_SIZE},
    {"read-iops-sec-max", VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC_MAX, PARAM_SIZE},
    {"write-iops-sec-max", VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC_MAX, PARAM_SIZE},
    {"size-iops-sec", VIR_DOMAIN_BLOCK_IOTUNE_SIZE_IOPS_SEC, PARAM_SIZE},
    {"group-name", VIR_DOMAIN_BLOCK_IOTUNE_GROUP_NAME, PARAM_TEXT},
    {"total-bytes-sec-max-length", VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX_LENGTH, PARAM_U64},
    {"read-bytes-sec-max-length", VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC_MAX_LENGTH, PARAM_U64},
    {"write-bytes-sec-max-length", VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC_MAX_LENGTH, PARAM_U64},
    {"total-iops-sec-max-length", VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC_MAX_LENGTH, PARAM_U64},
    {"read-iops-sec-max-length", VIR_DOMAIN_BLOCK_IOTUNE_READ_IOPS_SEC_MAX_LENGTH, PARAM_U64},
    {"write-iops-sec-max-length", VIR_DOMAIN_BLOCK_IOTUNE_WRITE_IOPS_SEC_MAX_LENGTH, PARAM_U64},
    {NULL},
};

int domain_iotune(struct cli *cli)
{
    unsigned flags = 0;
    const char *device = NULL;
    struct param_list set;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_text(cli, "device", &device) < 0)
        return -1;
    if (param_list_read(cli, limits, &set) < 0)
        return cli_error(cli, "Unable to parse integer parameter");
    wire_text disk = (char *)(uintptr_t)device;
    if (set.n)
        return CALL(cli, DOMAIN_SET_BLOCK_IO_TUNE, .dom = *domain, .disk = disk,
                    .params = {set.n, set.list}, .flags = flags)
                   ? 0
                   : cli_error(cli, "Unable to change block I/O throttle");
    const REMOTE_RET(DOMAIN_GET_BLOCK_IO_TUNE) *count =
        CALL(cli, DOMAIN_GET_BLOCK_IO_TUNE, .dom = *domain, .flags = flags);
    if (!count)
        return cli_error(cli, "Unable to get number of block I/O throttle parameters");
    if (!count->nparams)
        return 0;
    const REMOTE_RET(DOMAIN_GET_BLOCK_IO_TUNE) *got =
        CALL(cli, DOMAIN_GET_BLOCK_IO_TUNE, .dom = *domain, .disk = &disk,
             .nparams = count->nparams, .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get block I/O throttle parameters");
    param_list_print(cli, got->params.params_val, got->params.params_len);
    return 0;
}
