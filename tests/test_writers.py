"""Who writes a log and how they are told: nobody is signalled by mistake, and what cannot be told is not rotated."""

import os
import shutil  # noqa: TID251 - only to find a tool
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maintd.actions.hands import Hands
from maintd.actions.tell import Confirm, LogUnopened
from maintd.supervisor import Supervisor
from maintd.triggers import Told

from .conftest import until
from .tree import MAINTD, NOBODY, Tree, content

WRITER = """
import os, signal, sys, time

path, marks, mode = sys.argv[1:]

def opened():
    return os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if mode != "from its offset" else 0), 0o644)

def told(number, frame):
    os.write(mark, b"told\\n")
    if mode == "reopens":
        os.dup2(opened(), log)
    if mode == "closes":
        os.close(log)
        time.sleep(1000)

log, mark = opened(), os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
if mode not in ("unaware", "from its offset"):
    signal.signal(signal.SIGUSR1, told)
signal.signal(signal.SIGUSR2, lambda *_: os.setuid(65534))
os.write(1, b"ready\\n")
for number in range(1_000_000):
    os.write(log, b"line %d\\n" % number)
    time.sleep(0.002)
"""


class Writer:
    """A process that appends numbered lines to a log; `told` is how often it got SIGUSR1."""

    def __init__(self, folder: Path, log: Path, mode: str) -> None:
        script = folder / "writer.py"
        script.write_text(WRITER)
        self.log = log
        self.marks = folder / f"{log.name}.marks"
        self.process = subprocess.Popen([sys.executable, "-IS", script, log, self.marks, mode], stdout=subprocess.PIPE)
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def told(self) -> int:
        return len(self.marks.read_bytes().splitlines())

    def stop(self) -> None:
        assert self.process.stdout
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[..., Writer]]:
    writers: list[Writer] = []

    def begin(log: Path, mode: str = "reopens") -> Writer:
        writers.append(Writer(tmp_path, log, mode))
        return writers[-1]

    yield begin
    for writer in writers:
        writer.stop()


ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
SIGNAL = ROTATE + 'signal = { name = "USR1", pidfile = "HERE/pid" }\n'


def test_a_log_whose_writer_cannot_be_told_is_refused(tmp_path, write):
    """A writer that neither reopens its log nor appends is left alone, with pid, program and what would allow it."""
    tree = Tree(tmp_path, ROTATE)
    log = tree.log("a.log")
    writer = write(log, "from its offset")
    inode = log.stat().st_ino
    done = tree.do()
    refused = done.event("rotate.refused")
    assert f"writer.py (pid {writer.pid})" in refused["reason"]
    assert "signal" in refused["advice"]
    assert refused["level"] == "warning"
    assert (tree.names(), log.stat().st_ino, writer.is_alive) == (["a.log"], inode, True)
    assert f"writer.py (pid {writer.pid})" in tree.plan()[0]["reason"]


def test_a_writer_with_a_pidfile_is_told_and_no_line_is_lost(tmp_path, write):
    """The configured signal goes to the process in the pidfile; it reopens its log, and every line is there."""
    tree = Tree(tmp_path, SIGNAL)
    writer = write(tree.logs / "a.log")
    (tmp_path / "pid").write_text(f"{writer.pid}\n")
    done = tree.do()
    assert (done.code, done.names()) == (
        0,
        ["log.rotated", "writer.told", "log.released", "log.compressed", "job.finished"],
    )
    assert (done.event("writer.told")["pid"], done.event("writer.told")["signal"]) == (writer.pid, "SIGUSR1")
    assert writer.told == 1
    until(lambda: writer.log.stat().st_size, "it writes the new log")
    writer.stop()
    assert done.events("log.unopened") == []
    archive = next(path for path in tree.logs.iterdir() if path != writer.log)
    lines = (content(archive) + writer.log.read_bytes()).splitlines()
    assert lines == [b"line %d" % number for number in range(len(lines))]


def test_of_two_writers_only_one_is_told_and_the_reason_says_which(tmp_path, write):
    """The plan does not claim of a writer that it reopens its log on a signal that another one gets."""
    tree = Tree(tmp_path, SIGNAL)
    told, other = (write(tree.logs / "a.log", mode) for mode in ("reopens", "unaware"))
    (tmp_path / "pid").write_text(str(told.pid))
    (step, *_) = [step for step in tree.plan() if step.get("verb") == "rotate"]
    assert f"writer.py (pid {told.pid}) is told by SIGUSR1, for all of them" in step["reason"], step
    assert f"(pid {other.pid})" in step["reason"]
    done = tree.do()
    assert told.told == 1  # in all: the two have one file of marks
    assert done.event("rotate.waiting")["pid"] == other.pid


def test_a_pidfile_of_somebody_else_signals_nobody(tmp_path, write):
    """A pidfile that names a process without that log open is refused; that process gets no signal."""
    tree = Tree(tmp_path, SIGNAL)
    log = tree.log("a.log")
    writer, stranger = write(log), write(tmp_path / "elsewhere")
    (tmp_path / "pid").write_text(str(stranger.pid))
    refused = tree.do().event("rotate.refused")
    assert f"process {stranger.pid} of {tmp_path}/pid does not have the log open" in refused["reason"]
    assert "pidfile" in refused["advice"]
    assert (writer.told, stranger.told) == (0, 0)
    assert tree.names() == ["a.log"]


@pytest.mark.parametrize("pid", [None, "none", "0", "", "-1", "9" * 31])
def test_a_pidfile_without_a_pid_signals_nobody(tmp_path, write, pid):
    """A pidfile that is missing, empty, wrong or of a dead process is refused with advice, and the log stays."""
    tree = Tree(tmp_path, SIGNAL)
    writer = write(tree.logs / "a.log")
    if pid is not None:
        (tmp_path / "pid").write_text(pid)
    refused = tree.do().event("rotate.refused")
    assert "pid" in refused["reason"]
    assert "Errno" not in refused["reason"]
    assert "literal" not in refused["reason"]
    assert "signal.pidfile" in refused["advice"]
    assert (writer.told, writer.is_alive, tree.names()) == (0, True, ["a.log"])


def test_a_pidfile_that_is_no_file_hangs_nothing(tmp_path, write):
    """A FIFO, or a link to somewhere else, in place of the pidfile is refused at once and with advice."""
    tree = Tree(tmp_path, SIGNAL)
    writer = write(tree.logs / "a.log")
    os.mkfifo(tmp_path / "pid")
    found = subprocess.run(
        [MAINTD, "-c", tree.config, "plan", "--json"], capture_output=True, text=True, check=False, timeout=20
    )
    assert "is not a regular file" in found.stdout
    (tmp_path / "elsewhere").write_text(str(writer.pid))
    (tmp_path / "pid").unlink()
    (tmp_path / "pid").symlink_to("elsewhere")
    refused = tree.do().event("rotate.refused")
    assert f"cannot read a pid from {tmp_path}/pid" in refused["reason"]
    assert (writer.told, tree.names()) == (0, ["a.log"])


def test_a_pidfile_is_found_through_a_link_that_root_made(tmp_path, write):
    """A link on the way to the pidfile that nobody else could have made, such as /var/run, is followed."""
    tree = Tree(tmp_path, SIGNAL.replace("HERE/pid", "HERE/run/pid"))
    (tmp_path / "really").mkdir()
    (tmp_path / "run").symlink_to("really")
    writer = write(tree.logs / "a.log")
    (tmp_path / "really/pid").write_text(f"{writer.pid}\n")
    assert (tree.do().code, writer.told) == (0, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_that_became_another_users_gets_no_signal(tmp_path, write):
    """If the process that was seen has another uid when it is to be told, it is not, and nothing is lost."""
    tree = Tree(tmp_path)
    writer = write(tree.logs / "a.log")
    became = f"kill -USR2 {writer.pid}; until grep -q '^Uid:.{NOBODY}' /proc/{writer.pid}/status; do :; done"
    tree.write_config(SIGNAL + f'before = ["{script(tmp_path, became)}"]\n')
    (tmp_path / "pid").write_text(str(writer.pid))
    done = tree.do()
    assert "another user's" in done.event("rotate.failed")["error_msg"], done
    assert (writer.told, writer.is_alive, done.events("log.compressed")) == (0, True, [])
    writer.stop()
    archive = next(path for path in tree.logs.iterdir() if path != writer.log)
    lines = content(archive).splitlines()
    assert lines == [b"line %d" % number for number in range(len(lines))]


@pytest.mark.parametrize("how", ["signal", "command"])
def test_a_writer_that_lets_go_and_never_opens_its_new_log_is_told_of(tmp_path, write, how):
    """The old log of a writer that closes it when told is archived whole, and a warning says that it writes no more."""
    tree = Tree(tmp_path)
    writer = write(tree.logs / "a.log", "closes")
    (tmp_path / "pid").write_text(str(writer.pid))
    command = f'command = ["{script(tmp_path, f"kill -USR1 {writer.pid}")}"]\n'
    tree.write_config(SIGNAL if how == "signal" else ROTATE + command)
    done = tree.do()
    unopened = done.event("log.unopened")
    assert (done.code, unopened["target"], unopened["level"]) == (0, str(writer.log), "warning"), done
    assert (f"(pid {writer.pid})" if how == "signal" else "script") in unopened["program"]
    assert "restart it" in unopened["advice"]
    archive = next(path for path in tree.logs.iterdir() if path != writer.log)
    lines = content(archive).splitlines()
    assert lines == [b"line %d" % number for number in range(len(lines))]


def test_a_process_that_a_signal_would_end_gets_none(tmp_path, write):
    """A writer without a handler for the configured signal, which would end it, is left alive and its log in place."""
    tree = Tree(tmp_path, SIGNAL)
    writer = write(tree.logs / "a.log", "unaware")
    (tmp_path / "pid").write_text(str(writer.pid))
    refused = tree.do().event("rotate.refused")
    assert "has no handler for SIGUSR1" in refused["reason"]
    assert (writer.is_alive, tree.names()) == (True, ["a.log"])


def test_a_writer_that_does_not_let_go_is_waited_for_and_its_log_kept_whole(tmp_path, write):
    """A writer that was told and goes on writing the old file delays its compression, and nothing else: exit code 5."""
    tree = Tree(tmp_path, SIGNAL)
    writer = write(tree.logs / "a.log", "deaf")
    (tmp_path / "pid").write_text(str(writer.pid))
    done = tree.do()
    waiting = done.event("rotate.waiting")
    assert (done.code, waiting["pid"], waiting["program"]) == (5, writer.pid, "writer.py")
    assert done.events("log.compressed") == []
    writer.stop()
    again = tree.do()
    assert (again.code, again.events("log.rotated")) == (0, [])
    archive = next(path for path in tree.logs.iterdir() if path.suffix == ".zst")
    lines = content(archive).splitlines()
    assert lines == [b"line %d" % number for number in range(len(lines))]


def test_a_writer_that_reopens_by_itself_is_not_told(tmp_path, write):
    """reopen = "none" rotates also while somebody writes, signals nobody, and compresses when they have let go."""
    tree = Tree(tmp_path, ROTATE + 'reopen = "none"\ncompress = "none"\n')
    writer = write(tree.logs / "a.log")
    done = tree.do()
    assert (writer.told, len(done.events("log.rotated"))) == (0, 1)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv to drop its capabilities"
)
@pytest.mark.parametrize("told", ["", 'reopen = "auto"\nsignal = { name = "USR1", pidfile = "HERE/pid" }\n'])
def test_a_log_whose_writers_cannot_be_seen_is_never_taken_for_free(tmp_path, write, told):
    """Without CAP_SYS_PTRACE and without a lease, a log that a root process writes is refused, and said to be."""
    tree = Tree(tmp_path, ROTATE + "create = false\n" + told)  # so that nothing but who holds it is in the way
    writer = write(tree.logs / "a.log")
    (tmp_path / "pid").write_text(str(writer.pid))
    os.chown(writer.log, NOBODY, NOBODY)
    inode = writer.log.stat().st_ino
    done = tree.do(powerless=True)
    assert (done.code, done.names()) == (5, ["rotate.refused"]), done
    assert done.event("rotate.refused")["reason"] == "whether anybody has it open for writing cannot be known"
    assert "nobody writes it" not in tree.run("plan", powerless=True).stdout
    assert (tree.names(), writer.log.stat().st_ino, writer.told) == (["a.log"], inode, 0)


# Commands


def script(folder: Path, text: str) -> str:
    path = folder / "script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_command_tells_the_writer(tmp_path, write):
    """A configured command is run once for all logs that its job rotated, and the logs are compressed after it."""
    tree = Tree(tmp_path)
    writer = write(tree.logs / "a.log")
    command = script(tmp_path, f"kill -USR1 {writer.pid}")
    tree.write_config(ROTATE + f'command = ["{command}"]\n')
    tree.log("b.log")
    done = tree.do()
    assert done.code == 0, done
    assert (len(done.events("log.compressed")), writer.told) == (2, 1)
    assert done.event("command.finished")["command"] == command


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path, write):
    """When the command that should tell the writer fails, its status and output are in the event; nothing is lost."""
    tree = Tree(tmp_path)
    writer = write(tree.logs / "a.log")
    tree.write_config(ROTATE + f'command = ["{script(tmp_path, "echo it broke >&2; exit 3")}"]\n')
    done = tree.do()
    failed = done.event("command.failed")
    assert "exited with status 3: it broke" in failed["error_msg"]
    assert (done.code, done.events("log.compressed"), writer.is_alive) == (5, [], True)


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path):
    """At command_timeout the command and every process of its group are killed, and the run goes on."""
    command = script(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; sleep 300")
    tree = Tree(tmp_path, ROTATE + f'after = ["{command}"]\ncommand_timeout = "300ms"\n')
    tree.log("a.log")
    done = tree.do()
    failed = done.event("command.failed")
    assert (done.code, failed["error"]) == (5, "timedout")
    assert "took longer than 300ms" in failed["error_msg"]
    child = int((tmp_path / "child").read_text())
    until(lambda: _is_gone(child), "its child has ended")
    assert done.event("log.compressed")


def _is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # nobody reaps it where init does not


def test_a_command_may_print_megabytes(tmp_path):
    """However much a command prints, it ends, and its event holds only the end of it."""
    tree = Tree(tmp_path, ROTATE + f'after = ["{script(tmp_path, "yes | head -c 5000000; echo last words")}"]\n')
    tree.log("a.log")
    finished = tree.do().event("command.finished")
    assert finished["output"].endswith("last words")
    assert len(finished["output"]) <= 1000


@pytest.mark.parametrize("before", ["/bin/false", "/nonexistent/command"])
def test_a_before_that_fails_keeps_everything_from_being_rotated(tmp_path, before):
    """If `before` fails, or is not there, no log is rotated: the failure is told, the rest left out with the reason."""
    tree = Tree(tmp_path, ROTATE + f'before = ["{before}"]\nafter = ["/bin/touch", "HERE/after"]\n')
    tree.log("a.log")
    done = tree.do()
    assert (done.code, done.event("command.failed")["target"]) == (1, before)
    assert {event["verb"] for event in done.events("action.omitted")} == {"rotate", "compress", "run"}
    assert tree.names() == ["a.log"]
    assert not (tmp_path / "after").exists()


def test_commands_run_without_a_shell_and_get_no_file_names(tmp_path):
    """before and after are argument lists, run once around the rotation, with nothing from a log's name in them."""
    marker = tmp_path / "marker"
    tree = Tree(tmp_path, ROTATE + f'before = ["/bin/touch", "{marker}; $(false) *"]\n')
    tree.log("$(touch hacked).log")
    assert tree.do().code == 0
    assert Path(f"{marker}; $(false) *").exists()
    assert not list(tmp_path.rglob("hacked"))


# The kind compress


def test_an_open_or_young_file_is_never_compressed(tmp_path):
    """`compress` takes what is old and open nowhere, not even for reading; what is open is put off: exit code 5."""
    tree = Tree(
        tmp_path,
        '[compress.all]\npaths = ["LOGS/*.csv", "LOGS/*.gz"]\nexclude = ["LOGS/not*"]\ncron = "@daily"\n'
        'older_than = "30d"\nmin_size = "5"\n',
    )
    month = 31 * 86_400.0
    old = [tree.log(name, name.encode(), age=month) for name in ("done.csv", "read.csv", "written.csv", "not.csv")]
    tree.log("young.csv")
    tree.log("tiny.csv", b"x", age=month)
    tree.log("packed.csv.gz", b"packed", age=month)
    with old[1].open("rb"), old[2].open("ab"):
        done = tree.do()
    assert done.code == 5, done
    assert done.event("log.compressed")["target"] == str(old[0])
    assert tree.names() == [
        "done.csv.zst",
        "not.csv",
        "packed.csv.gz",
        "read.csv",
        "tiny.csv",
        "written.csv",
        "young.csv",
    ]
    assert len(tree.do().events("log.compressed")) == 2


def test_a_signal_that_ends_processes_is_no_configuration(tmp_path):
    """A signal that would end its recipient is an error of the config, with its place."""
    tree = Tree(tmp_path, ROTATE + 'signal = { name = "KILL", pidfile = "/run/x" }\n')
    done = tree.run("check")
    assert done.returncode == 1
    assert "maintd.toml:10:19: error: rotate.all.signal.name: " in done.stderr
    assert "KILL ends or stops a process" in done.stderr
    assert os.listdir(tree.logs) == []


def test_nobody_is_advised_to_restart_supervisord(tmp_path):
    """Of a log that supervisord has not opened anew, the advice is one of its own, which restarts nothing."""
    told = Told("supervisord (pid 7)", ((f"{tmp_path}/a.log", f"{tmp_path}/a.log.1"),), is_supervisord=True)
    step = Confirm(target=told.who, reason="told", told=told, supervisor=Supervisor(f"unix://{tmp_path}/no.sock"))
    with Hands(waits_since=time.monotonic() - 10) as hands:
        (event,) = step.apply(hands)
    assert isinstance(event, LogUnopened)
    assert "restarts none" in event.advice
    assert "restart it" not in event.advice
