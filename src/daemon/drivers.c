/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the daemon, in the order in which they start. */
#include "daemon/driver.h"

#include "daemon/domain/procedures.h"
#include "daemon/host/host.h"
#include "daemon/interface/interface.h"
#include "daemon/nodedev/nodedev.h"
#include "daemon/secret/secret.h"
#include "daemon/server/connect.h"
#include "daemon/storage/storage.h"

const struct daemon_driver *const daemon_drivers[] = {
    &connect_driver, &host_driver,    &interface_driver, &nodedev_driver,
    &secret_driver,  &storage_driver, &domain_driver,    NULL,
};
