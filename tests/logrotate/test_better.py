"""What logrotate gets wrong and maintd does not, with one and the same configuration: both are shown, side by side."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import until

from .beside import Case, Place, ours
from .busy import busy, lost
from .one_log import OURS, STRACE, gathered, laid, rotate, traced
from .original import PROGRAM, needed
from .test_beside import SCRIPTS, stanza

pytestmark = needed


def lost_by(program: list[str], folder: Path, body: str, size: int, rounds: int) -> int:
    """How many lines of a busy writer are lost in so many rotations, or in the first that loses one."""
    log = laid(folder, body, size)
    with busy(log, os.O_APPEND) as writer:
        for number in range(1, rounds + 1):
            done = rotate(program, folder, "-f")
            assert (done.code, done.stdout) == (0, ""), done.stderr
            assert len(list(folder.glob("app.log.*"))) == number
        written = writer.stop()
    return lost(folder, "app.log", written)


@pytest.mark.parametrize("body", ["copytruncate", "copytruncate\ncompress"])
def test_copytruncate_loses_no_line(tmp_path: Path, body: str):
    """What is written while logrotate copies is cut away with the rest; maintd collapses what it has copied."""
    assert lost_by(OURS, tmp_path / "ours", body, 4 << 20, rounds=2) == 0
    assert lost_by([str(PROGRAM)], tmp_path / "theirs", "copytruncate", 8 << 20, rounds=2) > 0


APPENDING = """
import os, select, sys
number = 0
while not select.select([0], [], [], 0.0005)[0]:
    with open(sys.argv[1], "ab", buffering=0) as log:
        log.write(b"%09d a line, and such lines are\\n" % number)
    number += 1
print(number, flush=True)
"""


def test_copytruncate_of_a_log_that_is_opened_for_each_line(tmp_path: Path):
    """Nobody has it open for most of the time: it is copied, and cut while who opens it has to wait a moment."""
    log = laid(tmp_path / "a", "copytruncate")
    log.write_text("")
    argv = [sys.executable, "-IS", "-c", APPENDING, str(log)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        for number in range(3):
            until(lambda: log.stat().st_size > 20_000, "lines")
            done = rotate(OURS, log.parent, "-f", "-v")
            assert (done.code, "may be lost" in done.stderr) == (0, False)
            assert len(list(log.parent.glob("app.log.*"))) == number + 1
        written, _ = writer.communicate("\n", timeout=20)
    assert lost(log.parent, "app.log", int(written)) == 0


def test_a_small_log_of_a_writer_waits(tmp_path: Path):
    """Less than two blocks cannot be taken from under a writer: it is rotated when there is more, or no writer."""
    log = laid(tmp_path / "a", "copytruncate")
    log.write_text("a\n")
    with log.open("a"):
        done = rotate(OURS, log.parent, "-f", "-v")
        assert (done.code, log.read_text()) == (0, "a\n")
        assert "is not rotated: a process writes it, and 2 B cannot be taken out of it yet" in done.stderr
    assert rotate(OURS, log.parent, "-f").code == 0
    assert (log.read_text(), (log.parent / "app.log.1").read_text()) == ("", "a\n")


def test_what_a_collapse_left_at_the_head_is_nothing(tmp_path: Path):
    """The line of blanks that it leaves is in no archive, and a log that has nothing else is empty (notifempty)."""
    log = laid(tmp_path / "a", "copytruncate\nnotifempty", 1 << 20)
    with busy(log, os.O_APPEND) as writer:
        written = writer.stop()
        assert rotate(OURS, log.parent, "-f").code == 0
    assert 0 < log.stat().st_size < 2 * 4096
    done = rotate(OURS, log.parent, "-f", "-v")
    assert "is not rotated: it holds nothing that was not rotated yet (notifempty)" in done.stderr
    with log.open("a") as file:
        file.write("b\n")
    assert rotate(OURS, log.parent, "-f").code == 0
    assert (log.read_text(), (log.parent / "app.log.1").read_text()) == ("", "b\n")
    assert lost(log.parent, "app.log", written) == 0


def test_compress_loses_no_line_of_a_holder(tmp_path: Path):
    """A writer that is not told goes on in the renamed log: logrotate compresses and removes it under its hands.

    maintd leaves it uncompressed while it is held, says so, and compresses it at the next rotation.
    """
    log = laid(tmp_path / "theirs", "compress\ncreate", 8 << 20)
    with busy(log, os.O_APPEND) as writer:
        assert rotate([str(PROGRAM)], log.parent, "-f").code == 0
        written = writer.stop()
    assert lost(log.parent, "app.log", written) > 0
    log = laid(tmp_path / "ours", "compress\ncreate", 8 << 20)
    with busy(log, os.O_APPEND) as writer:
        done = rotate(OURS, log.parent, "-f")
        assert (done.code, "still writes it" in done.stderr) == (0, True)
        written = writer.stop()
    assert sorted(path.name for path in log.parent.glob("app*")) == ["app.log", "app.log.1"]
    log.write_text("more\n")
    assert rotate(OURS, log.parent, "-f").code == 0
    assert sorted(path.name for path in log.parent.glob("app*")) == ["app.log", "app.log.1.gz", "app.log.2.gz"]
    assert lost(log.parent, "app.log", written) == 0


def test_a_failed_rotation_is_made_up_for(tmp_path: Path):
    """What stood in the way is gone an hour later: logrotate has it written down as done, maintd rotates it then."""
    left = {}
    for name, program in (("theirs", [str(PROGRAM)]), ("ours", OURS)):
        log = laid(tmp_path / name, "daily\nprerotate\ntest -e $1.ready\nendscript")
        log.write_text("a\n")
        (log.parent / "state").write_text(f'logrotate state -- version 2\n"{log}" 2026-1-1-1:0:0\n')
        (log.parent / "state").chmod(0o640)
        assert rotate(program, log.parent).code == 1
        (log.parent / "app.log.ready").touch()
        assert rotate(program, log.parent).code == 0
        left[name] = (log.parent / "app.log.1").exists()
    assert left == {"theirs": False, "ours": True}


MEETING = """#!/bin/sh
touch "$0.$$"
n=0
while [ $(ls "$0".* | wc -l) -lt 2 ] && [ $n -lt 40 ]; do n=$((n+1)); sleep 0.05; done
ls "$0".* | wc -l >> "$0-seen"
exec gzip
"""


def test_several_compressions_at_once(tmp_path: Path):
    """Two logs are compressed at a time: each compressor sees the other. With logrotate the first waits in vain."""
    seen = {}
    for name, program in (("theirs", [str(PROGRAM)]), ("ours", OURS)):
        log = laid(tmp_path / name, "")
        meeting = log.parent / "meet"
        meeting.write_text(MEETING)
        meeting.chmod(0o755)
        body = f"rotate 1\ncompress\ncompresscmd {meeting}\ncompressext .gz"
        (log.parent / "conf").write_text(f"{log.parent}/app*.log {{\n{body}\n}}\n")
        (log.parent / "app2.log").write_text("b\n")
        log.write_text("a\n")
        assert rotate(program, log.parent, "-f").code == 0
        seen[name] = (log.parent / "meet-seen").read_text().split()[0]
        assert gzip.decompress((log.parent / "app2.log.1.gz").read_bytes()) == b"b\n"
    assert seen == {"theirs": "1", "ours": "2"}


@traced
def test_gzip_is_done_in_process(tmp_path: Path):
    """The default command costs no process a log; another, or options other than a level, are run as they stand."""
    log = laid(tmp_path / "a", "")
    options = {
        "plain": "",
        "level": "compresscmd /bin/gzip\ncompressoptions -9",
        "more": "compressoptions -9 --rsyncable",
        "other": "compresscmd /bin/cat",
    }
    for name in options:
        (log.parent / name).write_text("a\n" * 1000)
    stanzas = [f"{log.parent}/{name} {{\nrotate 1\ncompress\n{more}\n}}\n" for name, more in options.items()]
    (log.parent / "conf").write_text("".join(stanzas))
    trace = tmp_path / "trace"
    done = rotate([STRACE, "-f", "-e", "trace=execve", "-o", str(trace), *OURS], log.parent, "-f")
    assert done.code == 0, done.stderr
    assert sorted(re.findall(r'execve\("/bin/(gzip|cat)", \[(.*?)\]', trace.read_text())) == [
        ("cat", '"/bin/cat"'),
        ("gzip", '"/bin/gzip", "-9", "--rsyncable"'),
    ]
    for name in options:
        archive = (log.parent / f"{name}.1.gz").read_bytes()
        assert (archive if name == "other" else gzip.decompress(archive)) == b"a\n" * 1000


def test_one_bad_stanza_stops_no_other(tmp_path: Path):
    """A stanza with a mistake in it is left out, with its line; logrotate leaves out the whole file, or all of it."""
    left = {}
    for name, program in (("theirs", [str(PROGRAM)]), ("ours", OURS)):
        log = laid(tmp_path / name, "")
        text = "".join(f"{log.parent}/{each} {{\nrotate 1\n{bad}\n}}\n" for each, bad in
                       (("a", ""), ("b", "size 1X"), ("c", ""), ("d", "olddir nowhere"), ("e", "")))  # fmt: skip
        (log.parent / "conf").write_text(text)
        for each in "abcde":
            (log.parent / each).write_text("x\n")
        done = rotate(program, log.parent, "-f")
        assert done.code == 1
        assert "conf:7" in done.stderr
        left[name] = sorted(path.name for path in log.parent.glob("?.1"))
    assert left["ours"] == ["a.1", "c.1", "e.1"]
    assert left["theirs"] != left["ours"]


def test_a_bad_log_with_shared_scripts_costs_itself(tmp_path: Path):
    """With sharedscripts logrotate rotates none of the logs if one cannot be, and writes down that all were."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a directory that is not safe for it")
    place = Place(tmp_path)
    case = Case(
        "mkdir d; chmod 777 d; echo a > d/a; echo b > b", stanza(f"sharedscripts\n{SCRIPTS}", "L/d/a L/b"), '"L/b" OLD'
    )
    theirs, mine = place.both(case)
    assert ("b" in theirs.tree, theirs.state["HERE/l/b"]) == (True, "now")
    assert ("b.1" in mine.tree, mine.state["HERE/l/b"], mine.code) == (True, "now", 1)


@pytest.mark.parametrize("naming", ["", "dateext\ndateformat -%s"])
def test_what_is_still_written_is_compressed_at_the_next_rotation(tmp_path: Path, naming: str):
    """On the command line nobody comes back to it: that is said, and so it is, once its writer has let go of it."""
    log, config = tmp_path / "a", tmp_path / "c"
    config.write_text(f"{log} {{\nrotate 3\ncompress\n{naming}\n}}\n")
    config.chmod(0o644)
    log.write_text("one\n")
    with busy(log, os.O_APPEND):
        first = ours("-f", "-s", tmp_path / "s", config)
        assert "done when the log is rotated the next time" in first.stderr
        log.write_text("two\n")
        put_off = ours("-f", "-s", tmp_path / "s", config)
        assert "still writes it" in put_off.stderr
        assert log.read_text() == "two\n"
    assert ours("-f", "-s", tmp_path / "s", config).code == 0
    assert [path.suffix for path in sorted(tmp_path.glob("a*"))] == [".gz", ".gz"]
    assert sorted(data[:4] for data in gathered(list(tmp_path.glob("a*")))) == [b"one\n", b"two\n"]
