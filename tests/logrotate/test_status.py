"""The state file: read, written and locked as the installed logrotate does, and without its losses."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_IMODE, S_ISCHR

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintd.errors import Locked, Refused
from maintd.logrotate import status
from maintd.logrotate.stanza import Criteria, Options
from tests.conftest import until

from .clocked import Original, needed, stanza

NOW = datetime(2026, 11, 24, 10, 30, 15)
FIRST = datetime(2026, 11, 1)
TOP = b"logrotate state -- version 2\n"

# a line, and the (name, time) that it says, or None if it is bad
LINES = [
    (b'"/good" 2026-11-1-0:0:0', ("/good", FIRST)),
    (b'"/good" 2026-11-01-01:02:03', ("/good", datetime(2026, 11, 1, 1, 2, 3))),
    (b"/good 2026-11-1", ("/good", FIRST)),
    (b'"/good" 2026-11-1-3', ("/good", datetime(2026, 11, 1, 3))),
    (b'"/good" 2026-11-1-3:4', ("/good", datetime(2026, 11, 1, 3, 4))),
    (b'"/good" 2026-11-1-', ("/good", FIRST)),
    (b'"/good" 2026-11-1x', ("/good", FIRST)),
    (b'"/good" 2026-+11-1', ("/good", FIRST)),
    (b'"/good" 2026-11-31', ("/good", datetime(2026, 12, 1))),
    (b'"/good" 2026-11-0', ("/good", datetime(2026, 10, 31))),
    (b'"/good" 2100-1-1', ("/good", datetime(2100, 1, 1))),
    (b'  "/good"\t2026-11-1 \r', ("/good", FIRST)),
    (b'"/good"\v2026-11-1\f', ("/good", FIRST)),
    (b'"/good" "2026-11-1" ""', ("/good", FIRST)),
    (b'"/good" " 2026-11-1"', ("/good", FIRST)),
    (b'/good "2026-11-1', ("/good", FIRST)),
    (b'"/a b" 2026-11-1', ("/a b", FIRST)),
    (b"'/a b' 2026-11-1", ("/a b", FIRST)),
    (b"/a\\ b 2026-11-1", ("/a b", FIRST)),
    (b'/a" "b 2026-11-1', ("/a b", FIRST)),
    (b'"/a\\nb" 2026-11-1', ("/a\nb", FIRST)),
    (b"'/a\\nb' 2026-11-1", ("/a\nb", FIRST)),
    (b"/a\\nb 2026-11-1", ("/anb", FIRST)),
    (b"/a\\\\nb 2026-11-1", ("/a\nb", FIRST)),
    (b'"/a\\tb" 2026-11-1', ("/a\\tb", FIRST)),
    (b'"/a\\\\b" 2026-11-1', ("/a\\b", FIRST)),
    (b'"/a\\\\nb" 2026-11-1', ("/a\\nb", FIRST)),
    (b'"/a\\\\\\nb" 2026-11-1', ("/a\\\nb", FIRST)),
    (b'"/a\\"b" 2026-11-1', ('/a"b', FIRST)),
    (b"'/a\\\"b' 2026-11-1", ('/a\\"b', FIRST)),
    (b"'/a\\'b' 2026-11-1", ("/a'b", FIRST)),
    (b'"/a\xffb" 2026-11-1', ("/a\udcffb", FIRST)),
    (b"bad", None),
    (b"# 2026-11-1 x", None),
    (b'"/good 2026-11-1', None),
    (b'"/good"2026-11-1', None),
    (b'"" 2026-11-1', None),
    (b'"/good" 2026-11-1 x', None),
    (b'"/good" 2026-11-1\\', None),
    (b'"/good" 2026-11', None),
    (b'"/good" 1969-12-31', None),
    (b'"/good" 2101-1-1', None),
    (b'"/good" 2026-13-1', None),
    (b'"/good" 2026-0-1', None),
    (b'"/good" 2026-11-32', None),
    (b'"/good" 2026-11-1-24', None),
    (b'"/good" 2026-11-1-1:60', None),
    (b'"/good" 2026-11-1-1:1:60', None),
]


def state(folder: Path) -> Path:
    return folder / "s"


def rewritten(folder: Path, data: bytes) -> dict[str, datetime]:
    """The entries that logrotate leaves of a state file, apart from that of a log of its own."""
    log = folder / "x.log"
    log.write_text("x")
    oracle = Original(folder, NOW)
    oracle.state(data)
    oracle.run(stanza(log, Options(criteria=Criteria(kind="daily"))))
    entries = dict(status.read(str(state(folder))).entries)
    entries.pop(str(log), None)
    return entries


@pytest.mark.parametrize(("line", "said"), LINES)
def test_a_line(line, said):
    """Quotes, escapes, and numbers that are missing or too large are read as by logrotate; a bad line is told."""
    found = status.parse(TOP + b'"/before" 2026-11-1\n' + line + b'\n"/after" 2026-11-1\n', "/s")
    around = {"/before": FIRST, "/after": FIRST}
    assert found.entries == (around if said is None else {**around, said[0]: said[1]})
    assert len(found.faults) == (1 if said is None else 0)
    assert all("state file /s" in fault and fault.startswith("bad ") for fault in found.faults)


@needed
@pytest.mark.parametrize(("line", "said"), LINES)
def test_a_line_originally(tmp_path, line, said):
    """The table of lines is what logrotate makes of them when it writes the file anew."""
    assert rewritten(tmp_path, TOP + line + b"\n") == (dict([said]) if said else {})


@needed
def test_a_bad_line_costs_itself_only(tmp_path):
    """logrotate forgets all that follows a bad line; maintd loses that line alone, and says which it was."""
    data = TOP + b'"/a" 2026-11-1\nnonsense\n"/b" 2026-11-1\n'
    found = status.parse(data, "/s")
    assert (set(found.entries), found.faults) == ({"/a", "/b"}, ("bad line 3 in state file /s",))
    assert set(rewritten(tmp_path, data)) == {"/a"}


@pytest.mark.parametrize(
    ("data", "entries", "faults"),
    [
        (b"", 0, 0),
        (TOP, 0, 0),
        (b"logrotate state -- version 1\n/good 2026-11-1\n", 1, 0),
        (TOP + b'"/good" 2026-11-1', 1, 1),
        (TOP.strip(), 0, 1),
        (TOP + b'\n\n"/good" 2026-11-1\n', 1, 0),
        (b'logrotate state -- version 3\n"/good" 2026-11-1\n', 1, 1),
        (b'\xff\x00\n"/good" 2026-11-1\n', 1, 1),
        (TOP + b'"/go\x00od" 2026-11-1\n', 0, 1),
        (TOP + b'"/good" 2026-11-1\n"/good" 2026-11-3\n', 1, 0),
        (bytes(range(11, 256)) * 16 + b"\n", 0, 1),
    ],
)
def test_a_whole_file(data, entries, faults):
    """Version 1 and 2, and an empty file, are read, as is one without a newline at its end; that, and a bad top line,
    is told.
    """
    found = status.parse(data, "/s")
    assert (len(found.entries), len(found.faults)) == (entries, faults)


def test_of_two_lines_for_a_log_the_last_counts():
    """A name that stands twice has the time of its last line, as in logrotate."""
    found = status.parse(TOP + b'"/a" 2026-11-5\n"/a" 2026-11-3\n', "/s")
    assert found.entries == {"/a": datetime(2026, 11, 3)}


paths = st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name)
spiced = st.lists(
    st.sampled_from([b"a", b" ", b'"', b"'", b"\\", b"\n", b"\t", b"\xc3\xa9", b"\xff", b"n"]), min_size=1
)
entries_of = st.dictionaries(
    (paths | spiced.map(b"".join)).map(lambda name: os.fsdecode(b"/" + name)),
    st.datetimes(datetime(2026, 1, 1), NOW).map(lambda time: time.replace(microsecond=0)),
    max_size=6,
)


@given(entries_of)
def test_what_is_written_is_read(entries):
    """Any names, with quotes, backslashes, newlines and bytes that are no text, come back from the file."""
    assert status.parse(status.render(entries), "/s") == status.Status(entries)


@needed
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries_of)
def test_logrotate_reads_what_is_written(tmp_path, entries):
    """One can go back at any time: logrotate reads a file of ours, and we read what it makes of it."""
    assert rewritten(tmp_path, status.render(entries)) == entries


@needed
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b'"', b"'", b"\\", b" ", b"a", b"/n", b"n", b"\t"]), min_size=1, max_size=9))
def test_any_line_is_read_as_logrotate_does(tmp_path, pieces):
    """However quotes and backslashes follow each other, the name is the one that logrotate reads."""
    data = TOP + b"".join(pieces) + b" 2026-11-1\n"
    assert status.parse(data, "/s").entries == rewritten(tmp_path, data)


def test_no_file_is_an_empty_state(tmp_path):
    """The first run finds no state file."""
    assert status.read(str(state(tmp_path))) == status.Status({})
    assert status.read(os.devnull) == status.Status({})


def take_lock(path: str) -> None:
    with status.locked(path):
        pass


MODES = [0o644, 0o600, 0o640, 0o660, 0o666, 0o400, 0o754, 0o1640]


def with_mode(path: Path, mode: int) -> None:
    path.write_bytes(TOP)
    if os.geteuid() == 0:
        os.chown(path, 33, 4)
    path.chmod(mode)


def access(path: Path) -> tuple[str, int, int]:
    info = path.stat()
    return oct(S_IMODE(info.st_mode)), info.st_uid, info.st_gid


@pytest.mark.parametrize("mode", MODES)
def test_mode_and_owner_stay(tmp_path, mode):
    """A new state file has the owner and the mode of the old one, except that not everybody may read it."""
    with_mode(state(tmp_path), mode)
    before = access(state(tmp_path))
    status.write(str(state(tmp_path)), {"/a": NOW})
    assert access(state(tmp_path)) == (oct(mode & 0o777 & ~0o004), *before[1:])
    assert status.read(str(state(tmp_path))).entries == {"/a": NOW}


@needed
@pytest.mark.parametrize("mode", MODES)
def test_mode_and_owner_originally(tmp_path, mode):
    """It is what logrotate makes of the same file."""
    (tmp_path / "x.log").write_text("x")
    with_mode(state(tmp_path), mode)
    Original(tmp_path, NOW).run(stanza(tmp_path / "x.log", Options()))
    theirs = access(state(tmp_path))
    with_mode(state(tmp_path), mode)
    status.write(str(state(tmp_path)), {})
    assert access(state(tmp_path)) == theirs


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o640), (0o022, 0o640), (0o077, 0o600)])
def test_a_first_state_file(tmp_path, umask, mode):
    """One that was not there gets mode 0640, less the umask."""
    before = os.umask(umask)
    try:
        status.write(str(state(tmp_path)), {"/a": NOW})
    finally:
        os.umask(before)
    assert S_IMODE(state(tmp_path).stat().st_mode) == mode


def test_a_link_is_replaced_and_not_followed(tmp_path):
    """Whoever could put a link there cannot have another file overwritten."""
    target = tmp_path / "target"
    target.write_bytes(TOP)
    state(tmp_path).symlink_to(target)
    status.write(str(state(tmp_path)), {"/a": NOW})
    assert (target.read_bytes(), state(tmp_path).is_symlink()) == (TOP, False)
    assert status.read(str(state(tmp_path))).entries == {"/a": NOW}


def test_dev_null_stays(tmp_path):
    """-s /dev/null means no state at all: nothing is written there, and nothing locked."""
    status.write(os.devnull, {"/a": NOW})
    with status.locked(os.devnull) as warning, status.locked(os.devnull):
        assert warning == ""
    assert S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(tmp_path, make):
    """A directory or a FIFO in place of the state file is refused at once, where logrotate hangs on the latter."""
    make(state(tmp_path))
    deeds: list[Callable[[str], object]] = [status.read, lambda path: status.write(path, {}), take_lock]
    for deed in deeds:
        with pytest.raises(Refused, match="not a regular file"):
            deed(str(state(tmp_path)))


def test_a_disk_without_room_leaves_the_old_state(tmp_path):
    """If the new state cannot be written whole, the old one stays, and no part of the new one lies about."""
    path = state(tmp_path)
    status.write(str(path), {"/a": NOW})
    before = path.read_bytes()
    code = (
        "import resource, sys, datetime; from maintd.logrotate import status\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "status.write(sys.argv[1], {f'/{n}': datetime.datetime(2026, 1, 1) for n in range(1000)})"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "File too large" in done.stderr) == (1, True)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"s": before}


def test_the_rest_of_a_run_that_was_cut_off_is_no_hindrance(tmp_path):
    """What a crash left of a state file that was being written is replaced."""
    (tmp_path / "s.maintd-tmp").write_text("half")
    status.write(str(state(tmp_path)), {"/a": NOW})
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]


def test_entries_of_a_year_ago_go():
    """What was neither rotated for a year nor seen by this run is forgotten; a year is 31,556,926 seconds."""
    year = timedelta(seconds=31_556_926)
    entries = {"/gone": NOW - year - timedelta(seconds=1), "/seen": datetime(2000, 1, 1), "/young": NOW - year}
    assert set(status.kept(entries, {"/seen"}, NOW)) == {"/seen", "/young"}


@needed
def test_entries_of_a_year_ago_go_originally(tmp_path):
    """So does logrotate."""
    year = timedelta(seconds=31_556_926)
    entries = {"/gone": NOW - year - timedelta(seconds=1), "/young": NOW - year}
    assert set(rewritten(tmp_path, status.render(entries))) == {"/young"}


@needed
def test_one_run_at_a_time(tmp_path):
    """While maintd holds the lock logrotate ends with 3, and maintd finds it locked while another process holds it."""
    (tmp_path / "x.log").write_text("x")
    path = str(state(tmp_path))
    oracle = Original(tmp_path, NOW)
    config = stanza(tmp_path / "x.log", Options())
    with status.locked(path) as warning:
        assert warning == ""
        assert oracle.run(config).returncode == 3
        with pytest.raises(Locked, match="already locked"), status.locked(path):
            pass
    assert oracle.run(config).returncode == 0
    with open(path) as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(Locked), status.locked(path):
            pass
    with status.locked(path):
        pass


def test_a_file_that_all_can_lock_is_not_locked(tmp_path):
    """Anybody could stop all rotation by locking a readable state file: it is warned about and left unlocked."""
    with_mode(state(tmp_path), 0o644)
    with open(state(tmp_path)) as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with status.locked(str(state(tmp_path))) as warning:
            assert "world-readable" in warning


def waits_for(inode: int) -> bool:
    """Whether some process waits for a lock of this file (proc(5), /proc/locks)."""
    return any("->" in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())


def test_waiting_for_the_lock(tmp_path):
    """--wait-for-state-lock goes on when the other run has ended, and then holds the lock of the file it left."""
    path = str(state(tmp_path))
    held: list[bool] = []

    def wait() -> None:
        with status.locked(path, wait=True), open(path) as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                held.append(error.errno == errno.EWOULDBLOCK)

    with status.locked(path):
        inode = os.stat(path).st_ino
        waiter = threading.Thread(target=wait)
        waiter.start()
        until(lambda: waits_for(inode), "the waiter")
        status.write(path, {"/a": NOW})
    waiter.join(10)
    assert held == [True]
