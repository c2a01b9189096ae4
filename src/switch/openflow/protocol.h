/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers of the OpenFlow protocol: OpenFlow Switch Specification 1.0.0 (chapter 5) and 1.3.5
 * (chapter 7). Where the two differ, tables and functions take the version.
 */
#ifndef KV_SWITCH_OPENFLOW_PROTOCOL_H
#define KV_SWITCH_OPENFLOW_PROTOCOL_H

#include <stdint.h>

#define OFP_10 0x01
#define OFP_13 0x04

#define OFP_HEADER 8
#define OFP_MESSAGE_MAX 65535

/* Types of both versions; those after OFPT_PACKET_OUT have other numbers in each. */
enum {
    OFPT_HELLO = 0,
    OFPT_ERROR = 1,
    OFPT_ECHO_REQUEST = 2,
    OFPT_ECHO_REPLY = 3,
    OFPT_EXPERIMENTER = 4, /* vendor in 1.0 */
    OFPT_FEATURES_REQUEST = 5,
    OFPT_FEATURES_REPLY = 6,
    OFPT_GET_CONFIG_REQUEST = 7,
    OFPT_GET_CONFIG_REPLY = 8,
    OFPT_SET_CONFIG = 9,
    OFPT_PACKET_IN = 10,
    OFPT_FLOW_REMOVED = 11,
    OFPT_PORT_STATUS = 12,
    OFPT_PACKET_OUT = 13,
    OFPT_FLOW_MOD = 14,
    OFPT10_PORT_MOD = 15,
    OFPT10_STATS_REQUEST = 16,
    OFPT10_STATS_REPLY = 17,
    OFPT10_BARRIER_REQUEST = 18,
    OFPT10_BARRIER_REPLY = 19,
    OFPT13_PORT_MOD = 16,
    OFPT13_MULTIPART_REQUEST = 18,
    OFPT13_MULTIPART_REPLY = 19,
    OFPT13_BARRIER_REQUEST = 20,
    OFPT13_BARRIER_REPLY = 21,
};

#define OFP_HELLO_VERSION_BITMAP 1

/* Statistics, multipart messages. */
enum {
    OFPMP_DESC = 0,
    OFPMP_FLOW = 1,
    OFPMP_AGGREGATE = 2,
    OFPMP_TABLE = 3,
    OFPMP_PORT = 4,
    OFPMP_TABLE_FEATURES = 12, /* 1.3 */
    OFPMP_PORT_DESC = 13,
};
#define OFPMP_MORE 1 /* flag of a reply */

/* Numbers of ports in 1.0; those of 1.3 have 16 bits more, all ones where they are special. */
enum {
    OFPP_MAX = 0xff00,
    OFPP_IN_PORT = 0xfff8,
    OFPP_TABLE = 0xfff9,
    OFPP_NORMAL = 0xfffa,
    OFPP_FLOOD = 0xfffb,
    OFPP_ALL = 0xfffc,
    OFPP_CONTROLLER = 0xfffd,
    OFPP_LOCAL = 0xfffe,
    OFPP_NONE = 0xffff, /* any in 1.3 */
};

#define OFP_CAPABILITY_FLOW_STATS 1
#define OFP_CAPABILITY_TABLE_STATS 2
#define OFP_CAPABILITY_PORT_STATS 4
#define OFP_CAPABILITY_ARP_MATCH_IP 0x80 /* 1.0 */

#define OFPPC_PORT_DOWN 0x01
#define OFPPC_NO_RECV 0x04
#define OFPPC_NO_FLOOD 0x10 /* 1.0 */
#define OFPPC_NO_FWD 0x20
#define OFPPC_NO_PACKET_IN 0x40
#define OFPPS_LINK_DOWN 0x01

enum {
    OFPFC_ADD,
    OFPFC_MODIFY,
    OFPFC_MODIFY_STRICT,
    OFPFC_DELETE,
    OFPFC_DELETE_STRICT,
};
#define OFPFF_SEND_FLOW_REM 1
#define OFPFF_CHECK_OVERLAP 2
#define OFPFF_RESET_COUNTS 4 /* 1.3 */

enum ofp_removed {
    OFPRR_IDLE_TIMEOUT,
    OFPRR_HARD_TIMEOUT,
    OFPRR_DELETE,
};

enum ofp_reason {
    OFPR_NO_MATCH,
    OFPR_ACTION,
};

#define OFP_NO_BUFFER UINT32_C(0xffffffff)
#define OFP_TABLE_ALL 0xff
#define OFP_MISS_LEN_DEFAULT 128
#define OFPCML_NO_BUFFER 0xffff

/* Errors; their types and codes by version are in error.c. */
enum ofp_error {
    OFP_OK,
    OFP_HELLO_INCOMPATIBLE,
    OFP_BAD_VERSION,
    OFP_BAD_TYPE,
    OFP_BAD_STATS,
    OFP_BAD_EXPERIMENTER,
    OFP_NOT_PERMITTED,
    OFP_BAD_LEN,
    OFP_BUFFER_UNKNOWN,
    OFP_ACTION_BAD_TYPE,
    OFP_ACTION_BAD_LEN,
    OFP_ACTION_BAD_EXPERIMENTER,
    OFP_ACTION_BAD_PORT,
    OFP_ACTION_BAD_ARGUMENT,
    OFP_ACTION_TOO_MANY,
    OFP_ACTION_BAD_FIELD,
    OFP_INSTRUCTION_UNKNOWN,
    OFP_INSTRUCTION_UNSUPPORTED,
    OFP_MATCH_BAD_TYPE,
    OFP_MATCH_BAD_LEN,
    OFP_MATCH_BAD_FIELD,
    OFP_MATCH_BAD_VALUE,
    OFP_MATCH_BAD_MASK,
    OFP_MATCH_BAD_PREREQUISITE,
    OFP_MATCH_DUPLICATE,
    OFP_FLOW_TABLE_FULL,
    OFP_FLOW_BAD_TABLE,
    OFP_FLOW_OVERLAP,
    OFP_FLOW_BAD_COMMAND,
    OFP_FLOW_BAD_FLAGS,
    OFP_PORT_BAD_NUMBER,
    OFP_PORT_BAD_ADDRESS,
    OFP_PORT_BAD_CONFIG,
    OFP_ERRORS,
};

struct ofp_error_code {
    uint16_t type, code;
};

struct ofp_error_code ofp_error_code(enum ofp_error error, uint8_t version);

#endif
