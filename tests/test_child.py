"""The promises of a function's own process."""

import contextlib
import fcntl
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from maintd import linux
from maintd.child import Worker
from maintd.confinement import Confinement
from maintd.errors import Aborted, MaintdError, Refused, TimedOut

from .test_backup import database
from .tree import NOBODY

# Functions for the child to run. Only maintd's modules may be called, so they are put among them.
PROBE = """
import os, signal, subprocess, sys, time
from maintd.errors import ConfigError, Problem, Refused

def echo(progress, **arguments):
    return arguments

def who(progress):
    return {"pid": os.getpid(), "ids": [*os.getresuid(), *os.getresgid()], "groups": os.getgroups(),
            "nice": os.nice(0), "capabilities": capabilities(), "session": os.getsid(0), "cwd": os.getcwd()}

def capabilities():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))

def stray(progress, *, own, other):
    os.close(os.open(own + "/made", os.O_CREAT | os.O_WRONLY))
    ways = {
        "make": lambda: os.open(other + "/new", os.O_CREAT | os.O_WRONLY),
        "write": lambda: os.open(other + "/file", os.O_WRONLY),
        "remove": lambda: os.unlink(other + "/file"),
        "rename out": lambda: os.rename(own + "/own", other + "/own"),
        "rename in": lambda: os.rename(other + "/file", own + "/file"),
        "mkdir": lambda: os.mkdir(other + "/folder"),
    }
    return [name for name, way in ways.items() if is_denied(way)]

def is_denied(way):
    try:
        way()
    except PermissionError:
        return True
    return False

def hang(progress):
    progress(os.getpid())
    time.sleep(600)

def hang_with_children(progress):
    child = subprocess.Popen(["sleep", "600"])
    progress(child.pid)
    child.wait()

def chatter(progress):
    print("stray")
    os.write(1, b"raw and without an end")
    subprocess.run(["echo", "from a program"])
    return sys.stdin.read()

def count(progress, *, to):
    for n in range(to):
        progress(n)
    return to

def break_lease(progress):
    os.kill(os.getpid(), signal.SIGIO)
    return "alive"

def fail_to_link(progress, *, source, target):
    os.link(source, target)

def refuse(progress):
    raise Refused("not this one", hint="try another")

def reject(progress):
    raise ConfigError([Problem("a.toml", 1, 2, "wrong")], hint="mend it")

def bug(progress):
    return {}["missing"]

def die(progress, *, how):
    os.kill(os.getpid(), how)

def leave(progress):
    os._exit(7)
"""
SITE = "import os, maintd\nmaintd.__path__.append(os.path.join(os.path.dirname(__file__), 'more'))\n"


@pytest.fixture
def probe(monkeypatch):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "more").mkdir()
        (folder / "sitecustomize.py").write_text(SITE)
        (folder / "more" / "probe.py").write_text(PROBE)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        monkeypatch.setenv("PYTHONPATH", name)
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield folder


@pytest.fixture
def worker(probe):
    with Worker(background=False) as worker:
        yield worker


def ended(pid: int, seconds: float = 30) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def test_arguments_and_result_cross_unchanged(worker):
    """JSON goes there and back, and so do file names that are not UTF-8."""
    arguments = {"path": os.fsdecode(b"/x/\xff\xfe caf\xc3\xa9\n'\"*["), "n": 2**60, "deep": [{"a": None}, 1.5, True]}
    assert worker.call("maintd.probe:echo", arguments) == arguments
    assert os.fsencode(worker.call("maintd.probe:echo", arguments)["path"]) == b"/x/\xff\xfe caf\xc3\xa9\n'\"*["


def test_a_request_and_a_result_larger_than_a_pipe(worker):
    """Nothing is cut or stuck at a pipe's 64 KiB."""
    big = {"text": "x" * 1_000_000}
    assert worker.call("maintd.probe:echo", big) == big


def test_calls_share_one_process(worker):
    """Starting Python is paid once; before the first call it is not paid at all."""
    assert worker.pid is None
    first = worker.call("maintd.probe:who", {})["pid"]
    assert first == worker.call("maintd.probe:who", {})["pid"] == worker.pid != os.getpid()


def test_the_child_stands_apart(probe):
    """Own session, nice 19 in the background, no working directory that it would keep from being unmounted."""
    with Worker() as worker:
        who = worker.call("maintd.probe:who", {})
    assert (who["session"], who["nice"], who["cwd"]) == (who["pid"], 19, "/")


def test_closing_leaves_no_process(probe):
    """The child has ended when the Worker is closed, and closing twice, or an unused one, does no harm."""
    with Worker() as worker:
        pid = worker.call("maintd.probe:who", {})["pid"]
    assert ended(pid, 0)
    worker.close()
    Worker().close()


def test_progress_arrives_in_order(worker):
    """Every report of progress comes before the result."""
    seen: list[int] = []
    assert worker.call("maintd.probe:count", {"to": 1000}, progress=seen.append) == 1000
    assert seen == list(range(1000))


def test_stray_output_does_not_reach_the_protocol(worker, capfd):
    """What a function or its programs print goes to stderr, and they cannot read the requests."""
    assert worker.call("maintd.probe:chatter", {}) == ""
    assert worker.call("maintd.probe:echo", {"n": 1}) == {"n": 1}
    captured = capfd.readouterr()
    assert "from a program" in captured.err
    assert captured.out == ""


def test_a_stop_aborts_at_once(worker):
    """Told to stop, the call ends at once, the process with it, and the next call works."""
    stop, told, pids = threading.Event(), [], []

    def tell(pid: int) -> None:
        pids.append(pid)
        told.append(time.monotonic())
        stop.set()

    with pytest.raises(Aborted):
        worker.call("maintd.probe:hang", {}, stop=stop, progress=tell)
    assert time.monotonic() - told[0] < 5, "it would have hung for ever; the machine may be busy"
    assert ended(pids[0], 0)
    assert worker.call("maintd.probe:who", {})["pid"] != pids[0]


def test_a_stop_kills_what_the_child_started(worker):
    """A program that the function runs does not outlive the abort."""
    stop, pids = threading.Event(), []

    def tell(pid: int) -> None:
        pids.append(pid)
        stop.set()

    with pytest.raises(Aborted):
        worker.call("maintd.probe:hang_with_children", {}, stop=stop, progress=tell)
    assert ended(pids[0])


def test_a_deadline_ends_the_call(worker):
    """Past its time limit a call is killed and says so."""
    with pytest.raises(TimedOut):
        worker.call("maintd.probe:hang", {}, deadline=time.monotonic() + 0.3)
    assert worker.pid is None


def test_a_failing_progress_leaves_no_half_finished_call(worker):
    """An exception of the caller's own ends the child too, so that the next call does not read the last one's reply."""

    def fail(_done: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        worker.call("maintd.probe:count", {"to": 5}, progress=fail)
    assert worker.call("maintd.probe:echo", {"n": 1}) == {"n": 1}


def test_an_oserror_keeps_its_errno_and_both_names(worker, tmp_path):
    """An OSError is raised again as the same class, with what it was about, non-UTF-8 names included."""
    missing, target = os.fsdecode(os.fsencode(tmp_path) + b"/\xff"), str(tmp_path / "b")
    with pytest.raises(FileNotFoundError) as caught:
        worker.call("maintd.probe:fail_to_link", {"source": missing, "target": target})
    error = caught.value
    assert (error.errno, error.strerror, error.filename, error.filename2) == (
        2,
        "No such file or directory",
        missing,
        target,
    )


def test_maintds_own_errors_keep_class_and_hint(worker):
    """A refusal in the child is a refusal in the parent, and the child goes on."""
    with pytest.raises(Refused, match="not this one") as caught:
        worker.call("maintd.probe:refuse", {})
    assert caught.value.hint == "try another"
    with pytest.raises(MaintdError, match=r"a\.toml:1:2: error: wrong") as caught:
        worker.call("maintd.probe:reject", {})
    assert caught.value.hint == "mend it"
    assert worker.pid is not None


def test_an_unexpected_error_ends_the_child_and_names_itself(worker, capfd):
    """A bug in a function is reported with its type, its traceback goes to stderr, and the next call works."""
    with pytest.raises(MaintdError, match="KeyError in the worker: 'missing'"):
        worker.call("maintd.probe:bug", {})
    assert worker.pid is None
    assert "Traceback" in capfd.readouterr().err
    assert worker.call("maintd.probe:echo", {}) == {}


@pytest.mark.parametrize("function", ["os:getpid", "maintd:x", "maintd.units", "maintdx.a:b", "maintd.units:a.b", ""])
def test_only_functions_of_maintd_are_run(worker, function):
    """A name outside maintd's modules is refused."""
    with pytest.raises(Refused):
        worker.call(function, {})


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [("die", {"how": 9}, "killed by signal 9"), ("die", {"how": 11}, "signal 11"), ("leave", {}, "exit code 7")],
)
def test_a_death_is_told_and_survived(worker, function, arguments, message):
    """A child that dies in a call says by what; one that died between calls is replaced without a word."""
    with pytest.raises(MaintdError, match=message):
        worker.call(f"maintd.probe:{function}", arguments)
    pid = worker.call("maintd.probe:who", {})["pid"]
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)
    assert worker.call("maintd.probe:who", {})["pid"] != pid


def test_signals_are_the_childs_own(worker):
    """A broken lease's SIGIO does not kill it, and SIGTERM does, even if the parent ignores or blocks it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        assert worker.call("maintd.probe:break_lease", {}) == "alive"
        with pytest.raises(MaintdError, match="signal 15"):
            worker.call("maintd.probe:die", {"how": signal.SIGTERM})
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGTERM, before)


def test_the_child_holds_the_lock(probe, tmp_path):
    """The lock stays held by an orphan until it is gone, and is free then."""
    path = tmp_path / "lock"
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    rival = os.open(path, os.O_RDWR)
    with Worker(lock_fd=lock) as worker:
        worker.call("maintd.probe:who", {})
        os.close(lock)
        with pytest.raises(BlockingIOError):
            fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(rival)


PARENT = """
import sys
from maintd.child import Worker
with Worker() as worker:
    worker.call("maintd.probe:hang", {}, progress=lambda pid: print(pid, flush=True))
"""


def test_kill_9_of_the_parent_ends_the_child(probe):
    """An orphan does not go on working beside a restarted daemon."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert not ended(pid, 0)
        parent.kill()
        assert ended(pid)


def test_the_child_ends_when_its_input_ends(probe):
    """A parent that just closes its end is enough."""
    command = [sys.executable, "-P", "-m", "maintd.child", str(os.getpid()), ""]
    request = json.dumps(["maintd.probe:echo", {"n": 1}]).encode() + b"\n"
    done = subprocess.run(command, input=request, capture_output=True, timeout=30, check=True)
    assert json.loads(done.stdout) == ["result", {"n": 1}]


def test_a_child_whose_parent_is_gone_does_nothing(probe):
    """If the parent died before the child could ask for its death signal, the child ends by itself."""
    command = [sys.executable, "-P", "-m", "maintd.child", "1", ""]
    request = json.dumps(["maintd.probe:echo", {"n": 1}]).encode() + b"\n"
    done = subprocess.run(command, input=request, capture_output=True, timeout=30, check=False)
    assert done.returncode != 0
    assert done.stdout == b""


@pytest.fixture
def theirs(tmp_path):
    """A directory of nobody's."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    return folder


def confinement(*folders: Path, **options: object) -> Confinement:
    return Confinement(tuple((str(path), path.stat().st_dev, path.stat().st_ino) for path in folders), **options)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the uid")


@needs_root
def test_a_confined_call_gives_up_its_user_for_good(worker, theirs):
    """All ids are another user's, no group and no capability of root's is left, and the next call is root's again."""
    within = confinement(theirs, uid=NOBODY, gid=NOBODY)
    who = worker.call("maintd.probe:who", {}, within=within)
    assert who["ids"] == [NOBODY] * 6
    assert (who["groups"], who["capabilities"]) == ([], 0)
    assert who["pid"] != worker.pid
    assert worker.call("maintd.probe:who", {})["ids"][0] == 0


@needs_root
def test_a_confined_call_is_out_of_reach_for_its_user(worker, theirs):
    """The owner of a directory can neither trace what works as it, nor get at the descriptors that holds."""
    within, stop = confinement(theirs, uid=NOBODY, gid=NOBODY), threading.Event()
    looks = []

    def tell(pid: int) -> None:
        command = ["/bin/ls", f"/proc/{pid}/fd"]
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        looks.append(subprocess.run(command, capture_output=True, check=False, **user).returncode)
        stop.set()

    with pytest.raises(Aborted):
        worker.call("maintd.probe:hang", {}, within=within, stop=stop, progress=tell)
    assert looks == [2]


@needs_root
@pytest.mark.skipif(not linux.landlock_abi(), reason="this kernel has no Landlock")
def test_a_confined_call_writes_nowhere_else(worker, theirs, tmp_path):
    """Also as root it makes, opens for writing, renames and removes files in its own directories alone."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("untouched")
    (theirs / "own").touch()
    within = confinement(theirs)
    denied = worker.call("maintd.probe:stray", {"own": str(theirs), "other": str(tmp_path / "other")}, within=within)
    assert denied == ["make", "write", "remove", "rename out", "rename in", "mkdir"]
    assert os.listdir(tmp_path / "other") == ["file"]
    assert sorted(os.listdir(theirs)) == ["made", "own"]


ON_AN_OLD_KERNEL = """
import os, sys
from maintd import linux, tuning
from maintd.confinement import Confinement
linux.landlock_abi = lambda: 1
database, room, other = sys.argv[1:]
places = [(path, os.stat(path).st_dev, os.stat(path).st_ino) for path in (os.path.dirname(database), room)]
Confinement(tuple(places), moves=False).enter()
where = {"directory": places[0][0], "name": os.path.basename(database), "temporaries": room}
tuning.settle(print, where=where, wanted={"page_size": 8192}, pause=60, size=0)
open(f"{room}/made", "w").close()
open(f"{other}/made", "w").close()
"""
"""Work on a database as Linux 5.13 to 5.18 fences it, whose Landlock knows nothing of renames across directories."""


@pytest.mark.skipif(not linux.landlock_abi(), reason="this kernel has no Landlock")
def test_a_database_is_worked_on_fenced_also_by_the_first_landlock(tmp_path):
    """VACUUM has its room, the page size is another, and nothing can be made outside of the two directories."""
    for name in ("theirs", "room", "other"):
        (tmp_path / name).mkdir()
    path = database(tmp_path / "theirs/a.db", 3000)
    argv = [sys.executable, "-c", ON_AN_OLD_KERNEL, str(path), str(tmp_path / "room"), str(tmp_path / "other")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert f"Permission denied: '{tmp_path}/other/made'" in done.stderr
    assert [os.listdir(tmp_path / name) for name in ("room", "other")] == [["made"], []]
    with contextlib.closing(sqlite3.connect(path)) as found:
        assert found.execute("PRAGMA page_size").fetchall() == [(8192,)]


@needs_root
def test_a_confined_call_has_the_very_directories_that_were_looked_at(worker, theirs, tmp_path):
    """One that was replaced since, by another or by a link, is refused, and nothing is called."""
    within = confinement(theirs)
    theirs.rename(tmp_path / "moved")
    theirs.mkdir()
    with pytest.raises(Refused, match="replaced by another directory"):
        worker.call("maintd.probe:who", {}, within=within)
    theirs.rmdir()
    theirs.symlink_to("moved")
    with pytest.raises(OSError, match="symbolic links"):
        worker.call("maintd.probe:who", {}, within=within)


@needs_root
@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("die", {"how": 9}, "killed by signal 9"),
        ("leave", {}, "exit code 7"),
        ("bug", {}, "KeyError in the worker: 'missing'"),
        ("refuse", {}, "not this one"),
    ],
)
def test_how_a_confined_call_fails_is_told(worker, theirs, function, arguments, message):
    """Whatever ends it is told, whoever it ran as, and the next call works."""
    within = confinement(theirs, uid=NOBODY, gid=NOBODY)
    with pytest.raises(MaintdError, match=message):
        worker.call(f"maintd.probe:{function}", arguments, within=within)
    assert worker.call("maintd.probe:count", {"to": 3}, within=within) == 3


@needs_root
def test_a_stop_leaves_no_confined_process(worker, theirs):
    """When the call returns, what ran as another user has closed all it had open, and is gone."""
    stop, pids = threading.Event(), []

    def tell(pid: int) -> None:
        pids.append(pid)
        stop.set()

    with pytest.raises(Aborted):
        worker.call(
            "maintd.probe:hang", {}, within=confinement(theirs, uid=NOBODY, gid=NOBODY), stop=stop, progress=tell
        )
    assert ended(pids[0])  # a process ends a moment after its descriptors are closed (do_exit)


@needs_root
def test_who_is_stopped_by_its_user_holds_nobody_up(probe, theirs):
    """A child that says nothing for longer than the patience with it is ended."""
    within = confinement(theirs, uid=NOBODY, gid=NOBODY)
    with Worker(background=False, patience=0.5) as worker, pytest.raises(TimedOut):
        worker.call("maintd.probe:hang", {}, within=within, progress=lambda pid: os.kill(pid, signal.SIGSTOP))


CONFINED = """
import json, sys
from maintd.child import Worker
from maintd.confinement import Confinement
within = Confinement.of(json.loads(sys.argv[1]))
with Worker() as worker:
    worker.call("maintd.probe:hang", {}, within=within, progress=lambda pid: print(pid, flush=True))
"""


@needs_root
def test_kill_9_of_the_parent_ends_what_works_as_another_user(probe, theirs):
    """The death signal is asked for after the change of user, which clears it."""
    fields = json.dumps(confinement(theirs, uid=NOBODY, gid=NOBODY).fields())
    with subprocess.Popen([sys.executable, "-c", CONFINED, fields], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert not ended(pid, 0)
        parent.kill()
        assert ended(pid)
