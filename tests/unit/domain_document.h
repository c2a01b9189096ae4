/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Documents of domains for tests, and how one is shown to be refused. */
#ifndef KV_TESTS_DOMAIN_DOCUMENT_H
#define KV_TESTS_DOMAIN_DOCUMENT_H

#define BEGIN "<domain type='kvm'><name>t</name><memory unit='MiB'>512</memory>"
#define OS "<os><type arch='x86_64' machine='pc'>hvm</type><kernel>/k</kernel></os>"
#define DOMAIN(devices) BEGIN OS "<devices>" devices "</devices></domain>"
#define DISK "<disk type='file'><source file='/a.img'/><target dev='vda'/></disk>"
#define NIC                                                                             \
    "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>" \
    "</interface>"

/* The document is refused with the libvirt error `code` and words that hold `message`. */
void expect_error(const char *xml, int code, const char *message);

#endif
