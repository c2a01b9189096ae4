/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenFlow's errors; see protocol.h. Specification 1.0.0, 5.4.4; 1.3.5, 7.5.4. */
#include "switch/openflow/protocol.h"

/* Types. What one version has no type for is told as another. */
enum {
    HELLO_FAILED = 0,
    BAD_REQUEST = 1,
    BAD_ACTION = 2,
    FLOW_MOD_FAILED_10 = 3,
    PORT_MOD_FAILED_10 = 4,
    BAD_INSTRUCTION = 3,
    BAD_MATCH = 4,
    FLOW_MOD_FAILED_13 = 5,
    PORT_MOD_FAILED_13 = 7,
};
#define BAD_MATCH_10 BAD_REQUEST, 6 /* bad length: there is nothing nearer */

static const struct {
    struct ofp_error_code v10, v13;
} codes[OFP_ERRORS] = {
    [OFP_HELLO_INCOMPATIBLE] = {{HELLO_FAILED, 0}, {HELLO_FAILED, 0}},
    [OFP_BAD_VERSION] = {{BAD_REQUEST, 0}, {BAD_REQUEST, 0}},
    [OFP_BAD_TYPE] = {{BAD_REQUEST, 1}, {BAD_REQUEST, 1}},
    [OFP_BAD_STATS] = {{BAD_REQUEST, 2}, {BAD_REQUEST, 2}},
    [OFP_BAD_EXPERIMENTER] = {{BAD_REQUEST, 3}, {BAD_REQUEST, 3}},
    [OFP_NOT_PERMITTED] = {{BAD_REQUEST, 5}, {BAD_REQUEST, 5}},
    [OFP_BAD_LEN] = {{BAD_REQUEST, 6}, {BAD_REQUEST, 6}},
    [OFP_BUFFER_UNKNOWN] = {{BAD_REQUEST, 8}, {BAD_REQUEST, 8}},
    [OFP_ACTION_BAD_TYPE] = {{BAD_ACTION, 0}, {BAD_ACTION, 0}},
    [OFP_ACTION_BAD_LEN] = {{BAD_ACTION, 1}, {BAD_ACTION, 1}},
    [OFP_ACTION_BAD_EXPERIMENTER] = {{BAD_ACTION, 2}, {BAD_ACTION, 2}},
    [OFP_ACTION_BAD_PORT] = {{BAD_ACTION, 4}, {BAD_ACTION, 4}},
    [OFP_ACTION_BAD_ARGUMENT] = {{BAD_ACTION, 5}, {BAD_ACTION, 5}},
    [OFP_ACTION_TOO_MANY] = {{BAD_ACTION, 7}, {BAD_ACTION, 7}},
    [OFP_ACTION_BAD_FIELD] = {{BAD_ACTION, 0}, {BAD_ACTION, 13}},
    [OFP_INSTRUCTION_UNKNOWN] = {{BAD_ACTION, 0}, {BAD_INSTRUCTION, 0}},
    [OFP_INSTRUCTION_UNSUPPORTED] = {{BAD_ACTION, 0}, {BAD_INSTRUCTION, 1}},
    [OFP_MATCH_BAD_TYPE] = {{BAD_MATCH_10}, {BAD_MATCH, 0}},
    [OFP_MATCH_BAD_LEN] = {{BAD_MATCH_10}, {BAD_MATCH, 1}},
    [OFP_MATCH_BAD_FIELD] = {{BAD_MATCH_10}, {BAD_MATCH, 6}},
    [OFP_MATCH_BAD_VALUE] = {{BAD_MATCH_10}, {BAD_MATCH, 7}},
    [OFP_MATCH_BAD_MASK] = {{BAD_MATCH_10}, {BAD_MATCH, 8}},
    [OFP_MATCH_BAD_PREREQUISITE] = {{BAD_MATCH_10}, {BAD_MATCH, 9}},
    [OFP_MATCH_DUPLICATE] = {{BAD_MATCH_10}, {BAD_MATCH, 10}},
    [OFP_FLOW_TABLE_FULL] = {{FLOW_MOD_FAILED_10, 0}, {FLOW_MOD_FAILED_13, 1}},
    [OFP_FLOW_BAD_TABLE] = {{FLOW_MOD_FAILED_10, 5}, {FLOW_MOD_FAILED_13, 2}},
    [OFP_FLOW_OVERLAP] = {{FLOW_MOD_FAILED_10, 1}, {FLOW_MOD_FAILED_13, 3}},
    [OFP_FLOW_BAD_COMMAND] = {{FLOW_MOD_FAILED_10, 4}, {FLOW_MOD_FAILED_13, 6}},
    [OFP_FLOW_BAD_FLAGS] = {{FLOW_MOD_FAILED_10, 5}, {FLOW_MOD_FAILED_13, 7}},
    [OFP_PORT_BAD_NUMBER] = {{PORT_MOD_FAILED_10, 0}, {PORT_MOD_FAILED_13, 0}},
    [OFP_PORT_BAD_ADDRESS] = {{PORT_MOD_FAILED_10, 1}, {PORT_MOD_FAILED_13, 1}},
    [OFP_PORT_BAD_CONFIG] = {{BAD_REQUEST, 5}, {PORT_MOD_FAILED_13, 2}},
};

struct ofp_error_code ofp_error_code(enum ofp_error error, uint8_t version)
{
    return version == OFP_13 ? codes[error].v13 : codes[error].v10;
}
