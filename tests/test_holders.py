"""Who has a file open, as real processes have it: what is asked of the kernel, and what /proc shows."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maintd import holders

from .conftest import until

OPEN = """
import os, signal, sys
descriptors = [os.open(sys.argv[1], int(flags)) for flags in sys.argv[2:]]
signal.signal(signal.SIGUSR1, lambda *_: None)
"""
WAIT = """
os.write(1, b"ready\\n")
sys.stdin.read()
"""
APPEND = os.O_WRONLY | os.O_APPEND

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that say when they are ready, and ends them with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*argv: object, **options: object) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        running.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def hold(start: Start) -> Start:
    """Starts a process that has a file open, once for each of the given flags."""
    return lambda path, *flags: start(sys.executable, "-IS", "-c", OPEN + WAIT, path, *flags)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_bytes(b"line\n")
    return path


@pytest.fixture
def descriptor(log: Path) -> Iterator[int]:
    """The log, open for reading in this process."""
    opened = os.open(log, os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.fixture(params=["by lease", "by /proc"])
def asked(request, monkeypatch) -> None:
    """With leases, and on a file system that has none (fcntl(2): EINVAL)."""
    if request.param == "by /proc":

        def none(*_: object) -> None:
            raise OSError(22, "Invalid argument")

        monkeypatch.setattr(fcntl, "fcntl", none)
    elif request.param == "by lease" and os.geteuid() != 0:
        pytest.skip("a lease on another's file needs CAP_LEASE: run the tests as root")


def _inode(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_dev, info.st_ino


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("flags", [(), (os.O_RDONLY,), (APPEND,), (os.O_RDWR, os.O_RDONLY)])
def test_whether_a_file_is_open_or_may_be_written(hold, log, descriptor, flags):
    """A writer, and only a writer, makes a file one that may be written; any holder makes it open elsewhere."""
    process = hold(log, *flags)
    assert holders.may_be_written(descriptor) is any(flag != os.O_RDONLY for flag in flags)
    assert holders.is_open_elsewhere(descriptor) is bool(flags)
    process.kill()
    process.wait()
    assert not holders.may_be_written(descriptor)
    assert not holders.is_open_elsewhere(descriptor)


def test_a_mapping_counts_as_a_writer(start, log, descriptor):
    """A file that is mapped for writing may be written, though no descriptor of it is open any more."""
    if os.geteuid() != 0:
        pytest.skip("a lease on another's file needs CAP_LEASE: run the tests as root")
    mapping = "import mmap\nmapped = mmap.mmap(descriptors[0], 5)\nmapped and os.close(descriptors[0])\n"
    start(sys.executable, "-IS", "-c", OPEN + mapping + WAIT, log, os.O_RDWR)
    assert holders.may_be_written(descriptor)


def test_nobody_can_open_for_writing_what_is_unwritable(hold, start, log, descriptor):
    """While it is held unwritable, a writer waits and a reader does not; with a writer there it says no."""
    before = signal.getsignal(signal.SIGIO)
    holders.ignore_lease_breaks()
    try:
        with holders.unwritable(descriptor) as granted:
            assert granted
            hold(log, os.O_RDONLY)
            late = subprocess.Popen([sys.executable, "-IS", "-c", OPEN, log, str(APPEND)])
            until(_has_lease_breaking, "the writer waits")
            assert late.poll() is None
        assert late.wait(10) == 0
    finally:
        signal.signal(signal.SIGIO, before)
    writer = hold(log, APPEND)
    with holders.unwritable(descriptor) as granted:
        assert not granted
        assert writer.poll() is None


def _has_lease_breaking() -> bool:
    """Whether somebody waits in open(2) for a lease of this process (proc_locks(5))."""
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(lock[1:3] == ["LEASE", "BREAKING"] and lock[4] == str(os.getpid()) for lock in locks)


THREAD = """
import ctypes, os, sys, threading

def hold():
    assert ctypes.CDLL(None).unshare(0x400) == 0  # CLONE_FILES
    os.open(sys.argv[1], int(sys.argv[2]))
    opened.set()
    threading.Event().wait()

opened = threading.Event()
threading.Thread(target=hold, daemon=True).start()
opened.wait()
"""
LEADER_ENDS = """
os.write(1, b"ready\\n")
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.parametrize("rest", [WAIT, LEADER_ENDS], ids=["beside the first thread", "after it"])
def test_a_thread_with_descriptors_of_its_own_is_found(start, log, rest):
    """What a thread has open in a table that it shares with nobody stands in none of its process's files."""
    process = start(sys.executable, "-IS", "-c", THREAD + rest, log, os.O_WRONLY)
    until(lambda: holders.find({_inode(log)}), "it is found")
    (found,) = holders.find({_inode(log)})[_inode(log)]
    assert (found.pid, found.writing, found.appending) == (process.pid, True, False)
    assert found.thread not in (0, process.pid)
    assert holders.descriptors(process.pid, _inode(log)) == []


def test_each_holder_is_found_with_how_it_holds_the_file(hold, log, tmp_path):
    """Of two files, every process that has one open is found once for each way it does: to read, write or append."""
    other = tmp_path / "other.log"
    other.touch()
    appends, both, reads = hold(log, APPEND), hold(log, os.O_RDWR, os.O_RDONLY), hold(other, os.O_RDONLY)
    found = holders.find({_inode(log), _inode(other)})
    assert found.keys() == {_inode(log), _inode(other)}
    assert {(holder.pid, holder.writing, holder.appending) for holder in found[_inode(log)]} == {
        (appends.pid, True, True),
        (both.pid, True, False),
        (both.pid, False, False),
    }
    assert [(holder.pid, holder.writing) for holder in found[_inode(other)]] == [(reads.pid, False)]
    for holder in found[_inode(log)]:
        assert (holder.start, holder.uid) == holders.start_and_uid(holder.pid)


@pytest.fixture
def unanswering(tmp_path: Path, start: Start) -> Iterator[Path]:
    """A file on a file system whose server has stopped answering, as a dead network one; a process has it open."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    place = tmp_path / "elsewhere"
    place.mkdir()
    try:
        server = start(sys.executable, "-IS", Path(__file__).with_name("unanswering.py"), place)
    except AssertionError:
        pytest.skip("no FUSE to mount here")
    holder = start(sys.executable, "-IS", "-c", OPEN + WAIT, place / "file", os.O_RDONLY)
    assert server.stdin
    assert server.stdout
    server.stdin.write(b"stop\n")
    server.stdin.flush()
    assert server.stdout.readline() == b"silent\n"
    yield Path(f"/proc/{holder.pid}/fd/3")
    subprocess.run(["umount", "-l", place], check=True)


def test_a_scan_does_not_wait_for_a_file_system_that_does_not_answer(hold, log, unanswering):
    """Whoever has a file open on a dead server, which stat(2) waits for, does not keep others from being found."""
    stat = subprocess.Popen(["stat", "-L", unanswering], stdout=subprocess.DEVNULL)
    process = hold(log, APPEND)
    scan = [sys.executable, "-c", f"from maintd import holders; print(holders.find({{{_inode(log)}}}))"]
    found = subprocess.run(scan, capture_output=True, text=True, check=True, timeout=20, env=os.environ)
    assert f"pid={process.pid}" in found.stdout
    assert stat.poll() is None, "the server answers: this proves nothing"
    stat.kill()
    stat.wait()


def test_a_process_is_told_from_a_later_one_of_its_pid(hold, log):
    """The start time is that of the process, whatever is in its name, and the uid is its own; of none there is none."""
    first, second = hold(log), hold(log)
    found = [holders.start_and_uid(process.pid) for process in (first, second)]
    assert [identity and identity[1] for identity in found] == [os.getuid()] * 2
    assert found[0] <= found[1]
    assert found[0] == holders.start_and_uid(first.pid)
    first.kill()
    first.wait()
    assert holders.start_and_uid(first.pid) is None


def test_only_a_signal_with_a_handler_is_caught(hold, log):
    """A process catches the signal it has a handler for, and no other; one that is gone catches nothing."""
    process = hold(log)
    assert holders.catches(process.pid, signal.SIGUSR1)
    assert not holders.catches(process.pid, signal.SIGUSR2)
    process.kill()
    process.wait()
    assert not holders.catches(process.pid, signal.SIGUSR1)


SAYS = 'import os, sys; os.write(1, b"ready\\n"); sys.stdin.read()'


@pytest.mark.parametrize("options", [["-c", SAYS], ["-ISc", SAYS], [f"-c{SAYS}"], ["-W", "error", "-c", SAYS]])
def test_code_on_a_command_line_makes_nobody_supervisord(start, options):
    """An interpreter that was given code is called by its own name, whatever the code and its arguments are."""
    options[-1] += " # /usr/bin/supervisord"
    process = start(sys.executable, *options, "/usr/bin/supervisord")
    assert holders.program(process.pid) == Path(sys.executable).name


def test_a_script_and_a_module_are_called_by_their_names(start, tmp_path):
    """An interpreter that runs a file or a module is called by its name, and options before it do not confuse that."""
    (tmp_path / "supervisord").write_text(SAYS)
    (tmp_path / "package").mkdir()
    (tmp_path / "package/module.py").write_text(SAYS)
    for argv, name in (
        ([sys.executable, tmp_path / "supervisord", "-c", "x.conf"], "supervisord"),
        ([sys.executable, "-W", "error", "-X", "utf8", tmp_path / "supervisord", "-n"], "supervisord"),
        ([sys.executable, "-um", "package.module", "-c", "x.conf"], "package.module"),
        (["sh", "-c", "echo ready; read line # /usr/bin/supervisord"], "sh"),
    ):
        process = start(*argv, cwd=tmp_path)
        assert holders.program(process.pid) == name
