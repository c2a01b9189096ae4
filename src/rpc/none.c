/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The coder of no arguments and no results, for server and client. */
#include "rpc/procedure.h"

bool_t xdr_wire_none(XDR *xdrs, wire_none *nothing)
{
    return TRUE;
}
