# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a control client sends, each request gets one answer and the machine lives."""

import random

from kv_disks import Machine, QmpError, make
from test_nodes import disk, qcow2
from test_snapshots import top

COMMANDS = 3000
LEFT_OUT = ("quit", "stop", "system_reset", "system_powerdown", "system_wakeup", "qmp_capabilities", "inject-nmi",
            "x-kvasir-describe", "block_resize")
WORDS = ["", "d", "e", "a", "over", "two", "bits", "qcow2", "raw", "file", "nbd", "throttle", "blkdebug", "full",
         "/dev/fdset/0", "/dev/fdset/99999999999999999999", "json:{}", "json:{\"driver\": \"qcow2\"}", "nbd://x/y",
         "\u00e4\u20ac" * 40, "x" * 5000, "#block001", "%s%n", "/dev/null", "/dev/zero", "."]
NUMBERS = [0, 1, -1, 511, 512, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 62, 2 ** 63 - 1, -2 ** 63]


def anything(choose, depth=0):
    """A JSON value."""
    kind = choose.randrange(8 if depth < 3 else 5)
    if kind < 2:
        return choose.choice(WORDS)
    if kind == 2:
        return choose.choice(NUMBERS)
    if kind == 3:
        return choose.choice([True, False, None])
    if kind == 4:
        return choose.random() * 1e9
    if kind == 5:
        return [anything(choose, depth + 1) for _ in range(choose.randrange(4))]
    names = ["driver", "file", "backing", "node-name", "filename", "type", "data", "path", "str", "device", "node",
             "name", "target", "bitmaps", "id", "host", "port", "image", "limits", "job-id", "sync", "overlay", "size"]
    return {choose.choice(names): anything(choose, depth + 1) for _ in range(choose.randrange(5))}


def fitting(choose, argument, actions):
    """A value of the argument's type, most of the time."""
    if choose.random() < 0.05:
        return anything(choose)
    if argument["name"] == "actions":
        return [{"type": choose.choice(actions)["name"], "data": anything(choose)} for _ in range(choose.randrange(5))]
    if argument.get("values"):
        return choose.choice(argument["values"])
    if argument["type"] == "str":
        return choose.choice(WORDS)
    if argument["type"] in ("int", "number"):
        return choose.choice(NUMBERS)
    if argument["type"] == "bool":
        return choose.choice([True, False])
    value = anything(choose)
    return value if argument["type"] == "any" else [value] if argument["type"] == "array" else {"driver": "raw",
                                                                                               "file": value}


def request(choose, commands):
    command = choose.choice(commands)
    arguments = {argument["name"]: fitting(choose, argument, commands) for argument in command["arguments"]
                 if choose.random() < (0.4 if argument["optional"] else 0.98)}
    if command.get("open"):
        more = anything(choose)
        arguments.update(more if isinstance(more, dict) else {})
    return command["name"], arguments


def test_any_arguments_get_an_answer_and_the_guest_still_has_its_disk(folder, jail):
    choose = random.Random(1 + jail)
    one, two = make(f"{folder}/one.qcow2"), make(f"{folder}/two.qcow2")
    with Machine(folder, disk(one, id="d"), disk(two, id="e"), jail=jail) as machine:
        machine.guest.write(0x4000, 8, 0x77)
        commands = [row for row in machine.qmp.execute("x-kvasir-describe")["commands"] if row["name"] not in LEFT_OUT]
        machine.qmp.execute("blockdev-add", **qcow2(machine.path(jail, make(f"{folder}/o.qcow2")), "over",
                                                    backing=None))
        machine.qmp.execute("block-dirty-bitmap-add", node=top(machine), name="bits")
        answered = 0
        for _ in range(COMMANDS):
            name, arguments = request(choose, commands)
            try:
                machine.qmp.run(name, arguments)
                answered += 1
            except QmpError:
                pass
            machine.qmp.events.clear()
            if machine.qmp.execute("query-status")["status"] != "running":
                machine.qmp.execute("cont")
        assert answered > COMMANDS / 20
        for job in machine.qmp.execute("query-jobs"):
            verb = "job-dismiss" if job["status"] == "concluded" else "job-cancel"
            machine.qmp.execute(verb, id=job["id"])
        for name in "de":
            machine.qmp.run("block_set_io_throttle", {"id": name, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0,
                                                      "iops_rd": 0, "iops_wr": 0})
        machine.guest.expect(0x4000, 8, 0x77)
        machine.quit()
