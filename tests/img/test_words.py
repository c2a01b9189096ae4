# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong and odd command lines: kvasir-img says what qemu-img says."""

import pytest

from conftest import OURS, run

USAGE = [
    "",
    "foo",
    "-x",
    "--x",
    "create",
    "create -Z",
    "create --zzz",
    "create -f",
    "create -f qcow2 x.qcow2 4M 5M",
    "info",
    "info a b",
    "info --output=foo a.qcow2",
    "check",
    "check -r foo a.qcow2",
    "compare a.qcow2",
    "commit",
    "convert",
    "convert a.qcow2",
    "map",
    "rebase",
    "rebase a.qcow2",
    "resize",
    "resize a.qcow2",
    "resize a.raw 1M 2M",
    "snapshot -a x -d x a.qcow2",
    "bitmap --add a.qcow2",
    "bitmap a.qcow2 b",
    "amend a.qcow2",
    "bench",
    "dd",
    "dd if=a.raw",
]

REFUSED = [
    "create -f raw c.raw",
    "create -f raw c.raw abc",
    "create -f raw c.raw -- -5",
    "create -f raw c.raw 1Z",
    "create -f raw c.raw 99999999999999999999999",
    "create -f raw c.raw 9E",
    "create -f foo c.raw 1k",
    "create -f qcow2 -o foo=bar x.qcow2 1M",
    "create -f qcow2 -o lazy_refcounts=maybe x.qcow2 1M",
    "create -f qcow2 -o cluster_size=abc x.qcow2 1M",
    "create -f qcow2 -o size=3M x.qcow2 4M",
    "create -f raw -b a.qcow2 -F qcow2 x.raw 4M",
    "create -f qcow2 -b a.qcow2 -F qcow2 a.qcow2",
    "create -f qcow2 -u -b nonexistent -F qcow2 x.qcow2",
    "create -f qcow2 -b nonexistent.qcow2 -F qcow2 x.qcow2",
    "info nonexistent",
    "info -f foo a.raw",
    "info --image-opts a.qcow2",
    "info -f raw --image-opts driver=qcow2,file.filename=a.qcow2",
    "info --object foo,id=a a.qcow2",
    "check a.raw",
    "check --output=json a.raw",
    "check nonexistent",
    "map --start-offset=-5 a.qcow2",
    "resize a.qcow2 abc",
    "resize a.qcow2 1M",
    "resize a.qcow2 -1M",
    "resize --shrink a.qcow2 -100M",
    "resize -f raw a.raw 0",
    "resize -f raw --preallocation=foo a.raw 22M",
    "resize -f raw --preallocation=metadata a.raw 22M",
    "resize -f raw --shrink --preallocation=full a.raw 1M",
    "resize nonexistent 1M",
    "compare a.qcow2 nonexistent",
    "compare -f foo a.qcow2 a.raw",
    "convert -O foo a.qcow2 o.qcow2",
    "convert -f foo a.qcow2 o.qcow2",
    "convert -c -O raw a.qcow2 o.raw",
    "convert -c -O qcow2 -o preallocation=full a.qcow2 o.qcow2",
    "convert -n -O raw a.qcow2 nonexistent",
    "convert -n -O raw -o size=3 a.qcow2 o.raw",
    "convert -n -O raw a.qcow2 small.raw",
    "convert -B a.qcow2 -O qcow2 a.qcow2 o.qcow2",
    "convert -B a.qcow2 -F qcow2 -O raw a.qcow2 o.raw",
    "convert -F qcow2 -O qcow2 a.qcow2 o.qcow2",
    "convert -m 0 a.qcow2 o.raw",
    "convert -m 17 a.qcow2 o.raw",
    "convert -m x a.qcow2 o.raw",
    "convert -S x a.qcow2 o.raw",
    "convert -S 1000 a.qcow2 o.raw",
    "convert -r x a.qcow2 o.raw",
    "convert -t bad a.qcow2 o.raw",
    "convert -T bad a.qcow2 o.raw",
    "convert -o foo=bar -O qcow2 a.qcow2 o.qcow2",
    "convert -O qcow2 -B a.qcow2 -F qcow2 a.qcow2 a.raw o.qcow2",
    "convert -l x -O qcow2 a.qcow2 a.raw o.qcow2",
    "convert -l snapshot.foo=1 -O qcow2 a.qcow2 o.qcow2",
    "convert --target-is-zero -O qcow2 a.qcow2 o.qcow2",
    "convert --target-image-opts -O qcow2 a.qcow2 o.qcow2",
    "convert --target-image-opts -n -O qcow2 a.qcow2 driver=qcow2,file.filename=a.qcow2",
    "convert -C -S 4k a.qcow2 o.raw",
    "convert -C -c -O qcow2 a.qcow2 o.raw",
    "convert --bitmaps -O raw a.qcow2 o.raw",
    "convert --skip-broken-bitmaps -O raw a.qcow2 o.raw",
    "convert -O raw a.qcow2 /nonexistent/o.raw",
    "convert -O qcow2 a.qcow2 /nonexistent/o.qcow2",
    "commit a.qcow2",
    "commit -b nonexistent over.qcow2",
    "commit -b over.qcow2 over.qcow2",
    "commit -f raw a.raw",
    "commit -r x over.qcow2",
    "commit -t bad over.qcow2",
    "rebase -b a.qcow2 over.qcow2",
    "rebase -b nonexistent -F qcow2 over.qcow2",
    "rebase -b a.qcow2 -F foo over.qcow2",
    "rebase -u -b x over.qcow2",
    "rebase -f raw -u -b a.qcow2 -F qcow2 a.raw",
    "rebase -f raw -b a.qcow2 -F qcow2 a.raw",
    "measure -O raw --size 1G a.qcow2",
    "measure -O vdi --size 1G",
    "measure -O foo --size 1G",
    "measure -O qcow2",
    "measure -O qcow2 --size x",
    "measure -O qcow2 -f qcow2 --size 1T",
    "measure -O qcow2 --image-opts --size 1T",
    "amend -f raw -o size=3M a.raw",
    "amend -f raw -o help",
    "amend -o cluster_size=4k a.qcow2",
    "amend -o foo=4k a.qcow2",
    "amend -o preallocation=full a.qcow2",
    "bitmap --clear -g 64k a.qcow2 b",
    "bitmap --clear -b a.raw a.qcow2 b",
    "bitmap --clear -F qcow2 a.qcow2 b",
    "dd if=a.raw of=o.raw bs=0",
    "dd if=a.raw of=o.raw bs=x",
    "dd if=a.raw of=o.raw bs=3G",
    "dd if=a.raw of=o.raw count=x",
    "dd if=a.raw of=o.raw skip=x",
    "dd if=a.raw of=o.raw foo=x",
    "dd if=a.raw of=o.raw foo",
    "dd if=a.raw of=o.raw seek=1",
    "dd -O foo if=a.raw of=o.raw",
    "dd if=nonexistent of=o.raw",
    "bench -w -c 100 --flush-interval 10 a.qcow2",
    "bench --flush-interval 10 a.qcow2",
    "bench --pattern 300 -w a.qcow2",
    "bench -c x a.qcow2",
    "bench -d x a.qcow2",
    "bench -s x a.qcow2",
    "bench -S x a.qcow2",
    "bench -o x a.qcow2",
    "bench -i x a.qcow2",
    "snapshot --image-opts -c x driver=raw,file.filename=a.raw",
    "snapshot --image-opts -d x driver=raw,file.filename=a.raw",
    "snapshot --image-opts -a x driver=raw,file.filename=a.raw",
    "convert -l x -O raw a.raw o.raw",
    "snapshot -d 9 a.qcow2",
    "snapshot -a nope a.qcow2",
]


@pytest.fixture(name="images", scope="module")
def images_of_the_module(tmp_path_factory):
    from conftest import Twins  # pylint: disable=import-outside-toplevel
    twins = Twins(tmp_path_factory.mktemp("words"))
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "4M")
    twins.prepare("qemu-img", "create", "-q", "-f", "raw", "a.raw", "4M")
    twins.prepare("qemu-img", "create", "-q", "-f", "raw", "small.raw", "1M")
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "over.qcow2")
    return twins


@pytest.mark.parametrize("line", USAGE)
def test_a_line_that_lacks_something_is_answered_as_qemu_img_does(images, line):
    assert images.same(*line.split()).status == 1


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_done_is_refused_in_the_words_of_qemu_img(images, line):
    assert images.same(*line.split()).status != 0


def test_every_command_of_the_help_has_help(tmp_path):
    text = run(OURS, ["--help"], tmp_path).out
    commands = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2] != " "]
    assert {"create", "info", "check", "convert", "snapshot", "resize", "rebase", "commit", "compare", "map", "measure",
            "bitmap", "dd", "amend", "bench"} <= set(commands)
    for command in commands:
        result = run(OURS, [command, "--help"], tmp_path)
        assert result.status == 0 and f"usage: IMG {command} " in result.out, command
        assert run(OURS, [command, "--no-such-option"], tmp_path).status == 1
