"""A rotation that fails half-way in a daemon at work: undone and done again by itself, with no line lost."""

import os
import shutil  # noqa: TID251 - to find a tool
import subprocess
import sys

import pytest

from tests.conftest import until
from tests.tree import content

NUMBERED = """
import os, signal, sys, time

path = sys.argv[1]

def opened():
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

log = opened()
signal.signal(signal.SIGUSR1, lambda *_: os.dup2(opened(), log))
os.write(log, b"".join(b"line %d\\n" % number for number in range(5000)))
os.write(1, b"ready\\n")
for number in range(5000, 1_000_000):
    os.write(log, b"line %d\\n" % number)
    time.sleep(0.01)
"""


def test_a_rotation_that_failed_between_its_renames_is_undone_and_done_again(daemon):
    """With the disk full at the second rename, the log is back at once, the next run rotates it, no line is lost."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    if subprocess.run([strace, "-o", os.devnull, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no tracing")
    inject = "inject=renameat2:error=ENOSPC:when=2"
    one = daemon(
        '[rotate.a]\npaths = ["LOGS/*.log"]\nmax_size = "20K"\nsignal = { name = "USR1", pidfile = "HERE/pid" }\n'
    )
    log = one.tree.logs / "a.log"
    # -D: it is the daemon that is our child, not strace
    one.start(under=[strace, "-D", "-f", "-qq", "-o", os.devnull, "-e", "trace=renameat2", "-e", inject])
    writer = subprocess.Popen([sys.executable, "-IS", "-c", NUMBERED, log], stdout=subprocess.PIPE)
    try:
        assert writer.stdout
        (one.tree.folder / "pid").write_text(str(writer.pid))
        assert writer.stdout.readline() == b"ready\n"
        failed = one.event("rotate.failed", error="ENOSPC")
        assert failed["target"] == str(log)
        one.event("log.rotated", target=str(log))
        one.event("writer.told", pid=writer.pid)
        one.event("log.compressed")
        until(lambda: log.stat().st_size, "the writer is at the new log")
    finally:
        writer.kill()
        writer.communicate()
    assert one.stop() == 0
    assert one.tree.temporaries() == []
    archives = [content(one.tree.logs / name) for name in one.tree.names() if name != log.name]
    lines = b"".join([*archives, log.read_bytes()]).splitlines()
    assert lines == [b"line %d" % number for number in range(len(lines))]
    assert len(lines) > 5000
