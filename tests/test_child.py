"""The promises of a function's own process."""

import fcntl
import json
import os
import pwd
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from maintd.child import Worker
from maintd.errors import Aborted, MaintdError, Refused, TimedOut

# Functions for the child to run. Only maintd's modules may be called, so they are put among them.
PROBE = """
import os, signal, subprocess, sys, time
from maintd.errors import ConfigError, Problem, Refused

def echo(progress, **arguments):
    return arguments

def who(progress):
    return {"pid": os.getpid(), "ids": [*os.getresuid(), *os.getresgid()], "groups": os.getgroups(),
            "nice": os.nice(0), "session": os.getsid(0), "cwd": os.getcwd()}

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


def ended(pid: int, seconds: float = 5) -> bool:
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


def test_a_stop_aborts_within_100_ms(worker):
    """Told to stop, the call ends at once, the process with it, and the next call works."""
    stop, told, pids = threading.Event(), [], []

    def tell(pid: int) -> None:
        pids.append(pid)
        told.append(time.monotonic())
        stop.set()

    with pytest.raises(Aborted):
        worker.call("maintd.probe:hang", {}, stop=stop, progress=tell)
    assert time.monotonic() - told[0] < 0.1
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


def interpreter_for(user: pwd.struct_passwd) -> str:
    """A Python that this user may run (a virtual environment below /root is none) on our sources; skips without one."""
    able = "import sys; import maintd.child; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run([python, "-c", able], user=user.pw_uid, capture_output=True, check=False)
        except (PermissionError, FileNotFoundError):
            continue
        if not done.returncode:
            return python
    pytest.skip("no Python from 3.11 on that nobody can run on these sources")


DROPPED = """
import json, sys
from maintd.child import Worker
with Worker(uid=int(sys.argv[1]), gid=int(sys.argv[2])) as worker:
    print(json.dumps(worker.call("maintd.probe:who", {})), flush=True)
    worker.call("maintd.probe:hang", {})
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the uid")
def test_the_uid_is_dropped_for_good(probe, monkeypatch):
    """All ids are another user's, no group of root's is left, and the child still dies with its parent."""
    user = pwd.getpwnam("nobody")
    monkeypatch.setenv("PYTHONPATH", f"{probe}:{Path(__file__).parent.parent}")
    command = [interpreter_for(user), "-c", DROPPED, str(user.pw_uid), str(user.pw_gid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        who = json.loads(parent.stdout.readline())
        assert who["ids"] == [user.pw_uid] * 3 + [user.pw_gid] * 3
        assert who["groups"] == []
        assert not ended(who["pid"], 0)
        parent.kill()
        assert ended(who["pid"])
