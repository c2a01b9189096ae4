# SPDX-License-Identifier: GPL-2.0-or-later
"""What commands change is in the configuration file (--save), and the switch begins with it again."""

import json
import os

import pytest
from conftest import BUILD
from kv_switch import Refused, Switch


def test_what_commands_change_is_there_after_a_restart(folder):
    file = f"{folder}/config"
    with Switch(BUILD, folder, "--config", file, "--save") as switch:
        switch.execute("add-bridge", name="br0", ageing=60)
        switch.execute("set-bridge", name="br0", ageing=70)
        for name, port in (("web", {"tag": 10}), ("db", {"trunks": "20-29"}), ("span", {}), ("gone", {"tag": 3})):
            switch.execute("add-port", bridge="br0", name=name, type="vhost-user-server", path=f"{folder}/{name}", **port)
        switch.execute("set-port", name="web", tag=11, mac_limit=5, out_average=1000)
        switch.execute("set-acl", name="a", default="deny")
        switch.execute("set-acl", name="b", rules=[{"action": "deny", "type": "arp"}])
        switch.execute("set-filter", port="web", acl="a", router_guard=True)
        switch.execute("set-filter", port="db", acl="a")
        switch.execute("set-filter", port="db")
        switch.execute("remove-acl", name="b")
        switch.execute("set-mirror", port="web", to="span", direction="in")
        switch.execute("set-mirror", port="gone", to="span")
        switch.execute("set-netflow", bridge="br0", collector="127.0.0.1:2055", idle=9)
        switch.execute("set-ipfix", bridge="br0", collector="127.0.0.1:2056")
        switch.execute("set-ipfix", bridge="br0")
        switch.execute("add-mac", port="web", mac="52:54:00:00:00:07")
        switch.execute("add-mac", port="gone", mac="52:54:00:00:00:08")
        switch.execute("remove-port", name="gone")
        switch.execute("add-bridge", name="br1")
        switch.execute("remove-bridge", name="br1")
        with pytest.raises(Refused):
            switch.execute("add-port", bridge="br0", name="web", type="tap")
        before = [switch.execute(query) for query in ("query-bridges", "query-acls")]
        macs = switch.execute("query-macs", bridge="br0")
        with open(file, encoding="utf-8") as saved:
            assert [port["name"] for port in json.load(saved)["bridges"][0]["ports"]] == ["web", "db", "span"]
    with Switch(BUILD, folder, "--config", file, "--save") as switch:
        numbers = ("number", "sent", "unsent", "missed")
        after = [switch.execute(query) for query in ("query-bridges", "query-acls")]
        assert without(numbers, after) == without(numbers, before)
        assert switch.execute("query-macs", bridge="br0") == macs and len(macs) == 1
        # What cannot be kept is carried out, and said.
        os.mkdir(f"{file}.new")
        with pytest.raises(Refused, match="it is done, but not kept.*config"):
            switch.execute("set-bridge", name="br0", ageing=80)
        os.rmdir(f"{file}.new")
        switch.execute("remove-port", name="db")
        with open(file, encoding="utf-8") as saved:
            bridge = json.load(saved)["bridges"][0]
        assert bridge["ageing"] == 80 and len(bridge["ports"]) == 2


def without(names, value):
    if isinstance(value, list):
        return [without(names, item) for item in value]
    if isinstance(value, dict):
        return {key: without(names, item) for key, item in value.items() if key not in names}
    return value
