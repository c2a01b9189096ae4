#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One look at the screen, or one deed, through AT-SPI (what assistive tools are told); see kv_gui.py.

usage: gui_step.py JSON: {"do": ..., "window": ..., "name": ..., "role": ..., "value": ...}. Prints the answer
as JSON; status 3: it is not there (yet). A process each time: the library remembers what it saw, and
threads of others are not its friends.
"""
import json
import sys
import warnings

import gi
gi.require_version("Atspi", "2.0")
from gi.repository import Atspi  # noqa: E402  pylint: disable=wrong-import-position


class NotThere(Exception):
    """Neither found nor ready."""


def has(node, state):
    return node.get_state_set().contains(getattr(Atspi.StateType, state))


def children(node):
    found = (node.get_child_at_index(i) for i in range(node.get_child_count()))
    return [child for child in found if child]


def walk(node):
    """Itself and all that is shown below it."""
    yield node
    for child in children(node):
        if child.get_role_name() == "table cell" or has(child, "SHOWING"):
            yield from walk(child)


def label(node):
    """The words beside it that belong to it."""
    for relation in node.get_relation_set():
        if relation.get_relation_type() == Atspi.RelationType.LABELLED_BY:
            return relation.get_target(0).get_name()
    return ""


def text(node):
    if not node.get_text_iface():
        return node.get_name() or ""
    return Atspi.Text.get_text(node, 0, Atspi.Text.get_character_count(node))


def windows():
    Atspi.init()
    Atspi.set_timeout(15000, 20000)  # milliseconds: it may be busy
    return [w for program in children(Atspi.get_desktop(0)) for w in children(program) if has(w, "SHOWING")]


def find(step):
    window = next((w for w in windows() if step["window"] in w.get_name()), None)
    if window is None:
        raise NotThere()
    if "name" not in step:
        return window
    for node in walk(window):
        if step.get("role") in (None, node.get_role_name()) and step["name"] in (node.get_name(), label(node)):
            return node
    raise NotThere()


def click(node, _):
    if not has(node, "SENSITIVE"):
        raise NotThere()
    Atspi.Action.do_action(node, 0)


def activate(node, _):
    """A row, as by a double click."""
    actions = [Atspi.Action.get_action_name(node, i) for i in range(Atspi.Action.get_n_actions(node))]
    Atspi.Action.do_action(node, actions.index("activate"))


def write(node, value):
    Atspi.EditableText.set_text_contents(node, value)


def number(node, value):
    Atspi.EditableText.set_text_contents(node, str(value))
    Atspi.Value.set_current_value(node, value)


def rows(node, _=None):
    return [cell.get_name() for row in children(node) for cell in [row, *children(row)]
            if cell.get_role_name() == "table cell" and cell.get_name()]


def choose(node, value):
    names = rows(node)
    if value not in names:
        raise NotThere()
    Atspi.Table.add_row_selection(node, names.index(value))


def turn_to(node, _):
    """A tab."""
    Atspi.Selection.select_child(node.get_parent(), node.get_index_in_parent())


DEEDS = {
    "click": click,
    "activate": activate,
    "write": write,
    "number": number,
    "rows": rows,
    "choose": choose,
    "turn_to": turn_to,
    "text": lambda node, _: text(node),
    "words": lambda node, _: "\n".join(text(n) for n in walk(node)),
    "is": lambda node, value: has(node, value),
}


def main():
    warnings.simplefilter("ignore")
    step = json.loads(sys.argv[1])
    try:
        if step["do"] == "windows":
            answer = [w.get_name() for w in windows()]
        else:
            answer = DEEDS[step["do"]](find(step), step.get("value"))
    except (NotThere, gi.repository.GLib.GError):
        sys.exit(3)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
