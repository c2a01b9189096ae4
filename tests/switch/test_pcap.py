# SPDX-License-Identifier: GPL-2.0-or-later
"""Ports whose frames come from files and go to files."""

import time

import pcap_file
import pytest
from conftest import send_by_tcp
from kv_switch import Refused

HOST_A, HOST_B = b"\x02\0\0\0\0\x0a", b"\x02\0\0\0\0\x0b"


def frame(number, to=HOST_B, source=HOST_A, tag=b""):
    return to + source + tag + b"\x88\xb5" + number.to_bytes(4, "big") + b"\x5a" * (42 + number % 1400)


def wait_for(switch, port, frames):
    deadline = time.monotonic() + 10
    while switch.statistics(port)["out-frames"] < frames:
        assert time.monotonic() < deadline, switch.execute("query-statistics")
        time.sleep(0.02)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [pcap_file.MAGIC, pcap_file.MAGIC_NANO])
def test_frames_come_from_a_file_and_go_to_another_in_order(switch, folder, order, magic):
    frames = [frame(n) for n in range(1000)]
    pcap_file.write(f"{folder}/in", frames, order, magic)
    switch.execute("add-port", bridge="br0", name="out", type="pcap", write=f"{folder}/out")
    switch.execute("add-port", bridge="br0", name="in", type="pcap", read=f"{folder}/in")
    wait_for(switch, "out", len(frames))
    assert pcap_file.read(f"{folder}/out") == frames
    assert switch.statistics("in")["in-frames"] == len(frames)
    assert switch.execute("query-macs", bridge="br0")[0]["mac"] == "02:00:00:00:00:0a"


def test_tags_are_put_in_and_taken_out(switch, folder):
    pcap_file.write(f"{folder}/in", [frame(1), frame(2, tag=b"\x81\0\0\x14")])
    switch.execute("add-port", bridge="br0", name="trunk", type="pcap", write=f"{folder}/trunk")
    switch.execute("add-port", bridge="br0", name="access", type="pcap", write=f"{folder}/access", tag=20)
    switch.execute("add-port", bridge="br0", name="in", type="pcap", read=f"{folder}/in", trunks="20", native=10)
    wait_for(switch, "trunk", 2)
    assert pcap_file.read(f"{folder}/trunk") == [frame(1, tag=b"\x81\0\0\x0a"), frame(2, tag=b"\x81\0\0\x14")]
    assert pcap_file.read(f"{folder}/access") == [frame(2)]


def test_segments_of_taps_are_cut_for_a_file_with_right_checksums(switch, spaces, folder):
    a, b = spaces.add(0, "203.0.113.1/24"), spaces.add(1, "203.0.113.2/24")
    switch.execute("add-port", bridge="br0", name="file", type="pcap", write=f"{folder}/out")
    switch.execute("set-mirror", port=a, to="file", direction="in")
    send_by_tcp(a, b, "203.0.113.2", 4 << 20)
    sizes = [size for size in map(pcap_file.check_tcp, pcap_file.read(f"{folder}/out")) if size is not None]
    assert max(sizes) <= 1460 and sum(sizes) >= 4 << 20
    long_ones = switch.statistics(a)
    assert long_ones["in-frames"] < len(sizes) / 4, "they came in long"
    assert "segments" not in switch.statistics("file")["drops"]


@pytest.mark.parametrize("write, words", [
    (lambda path: pcap_file.write(path, [], linktype=101), "link type 101"),
    (lambda path: pcap_file.write(path, [], magic=0x0a0d0d0a), "begins with 0x0a0d0d0a"),
    (lambda path: open(path, "wb").close(), "shorter than"),
    (lambda path: None, "No such file"),
])
def test_what_is_no_pcap_file_is_refused(switch, folder, write, words):
    write(f"{folder}/in")
    with pytest.raises(Refused, match=words):
        switch.execute("add-port", bridge="br0", name="in", type="pcap", read=f"{folder}/in")
    assert switch.execute("query-bridges")[0]["ports"] == []


@pytest.mark.parametrize("options, words", [
    ({}, "pcap needs 'read' or 'write'"),
    ({"read": "/x", "path": "/y"}, "pcap has no 'path'"),
    ({"type": "tap", "write": "/x"}, "tap has no 'write'"),
])
def test_options_of_others_are_refused(switch, options, words):
    with pytest.raises(Refused, match=words):
        switch.execute("add-port", **{"bridge": "br0", "name": "p", "type": "pcap", **options})


@pytest.mark.parametrize("lie", [b"\1", b"\0" * 8 + b"\xff" * 8, b"\0" * 16,
                                 b"\0" * 8 + b"\x40\0\0\0" * 2 + b"\x5a" * 20])
def test_a_file_that_breaks_off_is_read_up_to_there(switch, folder, lie):
    pcap_file.write(f"{folder}/in", [frame(1), frame(2)])
    with open(f"{folder}/in", "ab") as file:
        file.write(lie)
    switch.execute("add-port", bridge="br0", name="out", type="pcap", write=f"{folder}/out")
    switch.execute("add-port", bridge="br0", name="in", type="pcap", read=f"{folder}/in")
    wait_for(switch, "out", 2)
    assert pcap_file.read(f"{folder}/out") == [frame(1), frame(2)]
    assert "cut short" in switch.words()
