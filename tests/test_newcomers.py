"""Who comes to a log while it is taken out of it, or writes it in a way that no descriptor shows."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import environment
from .numbered import Writer, writing
from .tree import MAINTD, Did, Tree

JOB = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
ORDINARY = os.O_WRONLY
THREE_SLICES = 11_000
"""Lines that are collapsed in three steps."""

HELD = """
import importlib, os, sys
from maintd import child

name, calls, begun = sys.argv[1].rpartition("."), int(sys.argv[2]), 0
reached, go_on = int(sys.argv[3]), int(sys.argv[4])
module = importlib.import_module("maintd." + name[0])
real = getattr(module, name[2])

def counted(*arguments, **named):
    global begun
    begun += 1
    if begun == calls:
        os.write(reached, b"!")
        os.read(go_on, 1)
    return real(*arguments, **named)

def call(self, function, arguments, **_):
    home, _, found = function.partition(":")
    return getattr(importlib.import_module(home), found)(lambda done: None, **arguments)

setattr(module, name[2], counted)
child.Worker.call = call  # in this process, so that it waits here
sys.argv = ["maintd", *sys.argv[5:]]
from maintd import cli
cli.main()
"""
MAPPING = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
log = os.open(sys.argv[1], os.O_RDWR)
READ_AND_WRITE, SHARED = 3, 1  # mmap of Python's own keeps a descriptor
length = ctypes.c_size_t(os.fstat(log).st_size)
assert libc.mmap(None, length, READ_AND_WRITE, SHARED, log, ctypes.c_long(0)) != ctypes.c_void_p(-1).value
os.close(log)
os.write(1, b"ready\\n")
sys.stdin.read()
"""


def meanwhile(tree: Tree, function: str, call: int, happens: Callable[[], object]) -> Did:
    """`maintd do --all`, and what happens just before a function of it is called for so many times."""
    reached, says = os.pipe()
    hears, go_on = os.pipe()
    line = [MAINTD.with_name("python"), "-c", HELD, function, str(call), str(says), str(hears)]
    line += ["-c", str(tree.config), "do", "--all", "--json"]
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=environment(),
        pass_fds=(says, hears),
    ) as process:
        os.close(says)
        os.close(hears)
        assert os.read(reached, 1) == b"!"
        happens()
        os.close(go_on)
        out, err = process.communicate(timeout=60)
    os.close(reached)
    assert "Traceback" not in err, err
    return Did(process.returncode, [json.loads(text) for text in out.splitlines()], err)


@contextlib.contextmanager
def mapping(log: Path) -> Iterator[int]:
    """A process that has a log mapped to write to it, and no descriptor of it; the block gets its pid."""
    line = [sys.executable, "-IS", "-c", MAPPING, log]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def newcomer(log: Path, flags: int) -> Iterator[Callable[[], None]]:
    """What is to be called opens the log at its end, in another process that stays until the block ends."""
    script = "import os, sys\nlog = os.open(sys.argv[1], int(sys.argv[2]))\nos.lseek(log, 0, 2)\nos.write(1, b'.')\n"
    line = [sys.executable, "-IS", "-c", script + "sys.stdin.read()", log, str(flags)]
    with contextlib.ExitStack() as stack:

        def comes() -> None:
            process = stack.enter_context(subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout
            assert process.stdout.read(1) == b"."

        yield comes


@pytest.mark.parametrize("call", [1, 2])
def test_the_collapse_stops_for_a_writer_that_comes_and_does_not_append(tmp_path, call):
    """Its place in the file would mean another after the next slice: it is completed when that has gone."""
    tree = Tree(tmp_path, JOB)
    log = tree.logs / "a.log"
    with writing(log, size=4000) as writer:
        writer.write(THREE_SLICES)
        with newcomer(log, ORDINARY) as comes:
            done = meanwhile(tree, "durable.collapse", call, comes)
            assert done.code == 5, done
            assert "has come to write the log without appending" in done.event("action.waiting")["reason"]
            writer.write(100)
            left = log.stat().st_size
            assert tree.do().code != 0
            assert log.stat().st_size == left
        assert tree.do().event("rotation.recovered")["how"] == "completed"
        writer.check()
    assert tree.temporaries() == []


@pytest.mark.parametrize(("flags", "options"), [(ORDINARY | os.O_APPEND, ""), (ORDINARY, "adopt = true\n")])
def test_the_collapse_goes_on_for_a_writer_that_appends_or_may_be_made_to(tmp_path, flags, options):
    """Whoever opens the log meanwhile and appends, or may be made to, hinders nothing."""
    tree = Tree(tmp_path, JOB + options)
    log = tree.logs / "a.log"
    with writing(log, size=4000) as writer, newcomer(log, flags) as comes:
        writer.write(THREE_SLICES)
        done = meanwhile(tree, "durable.collapse", 2, comes)
        assert done.code == 0, done
        assert log.stat().st_size < 2 * 4096
        writer.check()


def _mapped_log(tree: Tree, writer: Writer) -> None:
    writer.write(2000)
    (step,) = tree.plan()
    assert "has it mapped into memory" in step["reason"]
    done = tree.do()
    assert (done.code, done.names()) == (5, ["rotate.refused"]), done
    assert tree.names() == ["a.log"]


def test_a_log_that_is_written_through_a_mapping_is_refused(tmp_path):
    """Its bytes stay where the mapping has them: no collapse while a process maps it, one afterwards."""
    tree = Tree(tmp_path, JOB)
    log = tree.logs / "a.log"
    with writing(log) as writer:
        writer.write(1)
        with mapping(log) as pid:
            _mapped_log(tree, writer)
            assert f"(pid {pid})" in tree.do().event("rotate.refused")["reason"]
        assert tree.do().code == 0
        writer.check()


def test_a_log_that_is_only_written_through_a_mapping_is_refused(tmp_path):
    """A mapping outlives its descriptor, and holds off the lease: no rename while only a mapping is there."""
    tree = Tree(tmp_path, JOB)
    log = tree.log("a.log", b"a line\n" * 2000)
    with mapping(log) as pid:
        done = tree.do()
        assert (done.code, done.names()) == (5, ["rotate.refused"]), done
        assert f"(pid {pid}) has it mapped" in done.event("rotate.refused")["reason"]
        assert tree.names() == ["a.log"]
    assert tree.do().event("log.rotated")


def test_a_mapping_that_is_made_during_the_collapse_stops_it(tmp_path):
    """Who maps the log while it is collapsed is waited for like who opens it without appending."""
    tree = Tree(tmp_path, JOB)
    log = tree.logs / "a.log"
    with writing(log, size=4000) as writer, contextlib.ExitStack() as stack:
        writer.write(THREE_SLICES)
        done = meanwhile(tree, "durable.collapse", 2, lambda: stack.enter_context(mapping(log)))
        assert "has it mapped" in done.event("action.waiting")["reason"]
        stack.close()
        assert tree.do().event("rotation.recovered")["how"] == "completed"
        writer.check()
