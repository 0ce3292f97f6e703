"""Commands of a job: as whom and with what they run, and that nothing of them outlives their time or maintd."""

import contextlib
import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Command, Site, environment, until
from .tree import MAINTD, Tree

ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
SOON = 30.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user may enter and write."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as name:
        Path(name).chmod(0o777)
        yield Path(name).resolve()


def script(folder: Path, text: str, name: str = "script") -> str:
    """An executable shell script; HERE in it stands for the folder."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n".replace("HERE", str(folder)))
    path.chmod(0o755)
    return str(path)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # nobody reaps it where init does not


def pids_in(path: Path, count: int) -> list[int]:
    """The pids that a script has written there, as soon as there are so many."""
    return until(lambda: _pids(path, count), f"{count} pids in {path}")


def _pids(path: Path, count: int) -> list[int]:
    found = path.read_text().split() if path.exists() else []
    return [int(pid) for pid in found] if len(found) == count else []


@contextlib.contextmanager
def ended(pids: list[int]) -> Iterator[None]:
    """Ends what a failing test would leave."""
    try:
        yield
    finally:
        for pid in pids:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)


# Nothing outlives maintd

HANGS = "sh -c 'echo $$ >> HERE/pids; exec sleep 300' &\ntrap '' TERM HUP\necho $$ >> HERE/pids\nexec sleep 300"
"""A command and its child, which write their pids; both would end by nothing but SIGKILL, or after 300 s."""


def threads_children(pid: int) -> list[str]:
    return [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(re.findall(r"(?m)^PPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
        yield pid


def test_nothing_of_a_command_outlives_a_killed_daemon(site: Site, maintd: Command):
    """kill -9 of the daemon ends a command that hangs, the processes that it has started, and their child of maintd."""
    command = script(site.root, HANGS)
    site.configure(f'[rotate.all]\npaths = ["{{logs}}/*.log"]\nmax_size = "1K"\nbefore = ["{command}"]\n')
    site.log("a.log", b"x" * 2000)
    daemon = maintd.start("run", stdout=subprocess.DEVNULL)
    pids = pids_in(site.root / "pids", 2)
    (worker,) = (int(child) for child in threads_children(daemon.pid))
    with ended([*pids, worker]):
        daemon.kill()
        daemon.wait()
        until(lambda: all(map(is_gone, [*pids, worker])), "all of the command has ended", SOON)
    assert site.names() == ["a.log"]


def test_a_daemon_that_is_told_to_stop_ends_its_command(site: Site, maintd: Command):
    """On SIGTERM the daemon ends a command that hangs with all it has started, and is gone."""
    command = script(site.root, HANGS)
    site.configure(f'[rotate.all]\npaths = ["{{logs}}/*.log"]\nmax_size = "1K"\nbefore = ["{command}"]\n')
    site.log("a.log", b"x" * 2000)
    daemon = maintd.start("run", stderr=subprocess.DEVNULL)
    pids = pids_in(site.root / "pids", 2)
    with ended(pids):
        daemon.terminate()
        output, _ = daemon.communicate(timeout=15)  # `make faults` measures the two seconds, on an idle machine
        assert all(map(is_gone, pids))
    events = [json.loads(line)["event"] for line in output.splitlines()]
    assert events[-1] == "daemon.stopped"
    assert "command.failed" not in events


def test_a_command_dies_with_the_child_that_runs_it(place):
    """If maintd's child is killed (out of memory), its command is killed too, and that is one failure of the job."""
    command = script(place, "echo $$ > HERE/pids; exec sleep 300")
    tree = Tree(place, ROTATE + f'before = ["{command}"]\n')
    tree.log("a.log")
    running = subprocess.Popen(
        [MAINTD, "-c", tree.config, "do", "--all", "--json"], stdout=subprocess.PIPE, env=environment(), cwd="/"
    )
    pids = pids_in(place / "pids", 1)
    with ended(pids):
        (worker,) = {int(child) for child in threads_children(running.pid)} & set(ancestors(pids[0]))
        os.kill(worker, signal.SIGKILL)
        output, _ = running.communicate(timeout=10)
        until(lambda: is_gone(pids[0]), "the command has ended", SOON)
    failed = [event for event in map(json.loads, output.splitlines()) if event.get("event") == "command.failed"]
    assert [event["error_msg"] for event in failed] == ["the worker was killed by signal 9"]
    assert tree.names() == ["a.log"]


# What it leaves in the background


def test_what_a_command_leaves_in_the_background_lives_on_and_holds_nothing_up(place):
    """A command that daemonizes ends at once; its daemon goes on, also with writing to the output it inherited."""
    left = script(
        place,
        "echo $$ > HERE/pids\necho running\nwhile [ ! -e HERE/go ]; do sleep 0.02; done\n"
        "head -c 300000 /dev/zero\necho $? > HERE/status\n",
        "left",
    )
    command = script(place, f"{left} &\nwhile [ ! -s HERE/pids ]; do sleep 0.02; done\nsleep 0.1; echo started")
    tree = Tree(place, ROTATE + f'after = ["{command}"]\ncommand_timeout = "60s"\n')
    tree.log("a.log")
    done = tree.do()
    pids = pids_in(place / "pids", 1)
    with ended(pids):
        assert (done.code, done.event("command.finished")["output"]) == (0, "running\nstarted")
        assert not is_gone(pids[0])
        (place / "go").touch()
        status = until(lambda: (place / "status").exists() and (place / "status").read_text(), "it has written")
    assert status == "1\n"  # EAGAIN, where SIGPIPE would give 141


def test_output_without_an_end_is_ended_by_the_time_limit(place):
    """A command that prints for ever is ended at command_timeout; nothing of what it printed is kept."""
    tree = Tree(place, ROTATE + 'after = ["/usr/bin/yes"]\ncommand_timeout = "300ms"\n')
    tree.log("a.log")
    failed = tree.do().event("command.failed")
    assert failed["error_msg"] == "/usr/bin/yes took longer than 300ms and was ended"


# As whom, and with what


def say(folder: Path) -> str:
    """A script that writes down who it is, its environment, and where it is."""
    text = "{ id -u; id -g; id -G; } > HERE/who; env > HERE/env\n"
    text += "pwd > HERE/cwd; nice > HERE/nice; echo told > /dev/stderr"
    return script(folder, text)


def env_of(folder: Path) -> dict[str, str]:
    pairs = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    for made_by_the_shell in ("PWD", "OLDPWD", "SHLVL", "_"):
        pairs.pop(made_by_the_shell, None)
    return pairs


def test_a_command_gets_a_clean_environment_and_nothing_else_of_maintd(place):
    """Its environment is PATH, LANG and its user's HOME, USER and LOGNAME; it begins in /, as nice as maintd is."""
    tree = Tree(place, ROTATE + f'after = ["{say(place)}"]\n')
    tree.log("a.log")
    done = tree.do()
    assert done.code == 0, done
    own = pwd.getpwuid(os.geteuid())
    assert env_of(place) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": own.pw_dir,
        "USER": own.pw_name,
        "LOGNAME": own.pw_name,
    }
    assert (place / "cwd").read_text() == "/\n"
    assert int((place / "nice").read_text()) == os.nice(0)


def test_a_command_gets_no_descriptor_of_maintd(place):
    """Neither the lock nor a pipe of maintd is open in a command: it has stdin, stdout and stderr alone."""
    tree = Tree(place, ROTATE + 'after = ["/bin/ls", "/proc/self/fd"]\n')
    tree.log("a.log")
    assert tree.do().event("command.finished")["output"].split() == ["0", "1", "2", "3"]  # 3 is what ls reads


def test_a_command_gets_no_signal_setting_of_maintd(place):
    """No signal is blocked or ignored in a command: it dies of SIGPIPE and SIGTERM like any other program."""
    tree = Tree(place, ROTATE + 'after = ["/bin/grep", "-E", "SigBlk|SigIgn", "/proc/self/status"]\n')
    tree.log("a.log")
    usual = signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as a shell does for what it starts in the background
    try:
        words = tree.do().event("command.finished")["output"].split()
    finally:
        signal.signal(signal.SIGQUIT, usual)
    own = 1 << 31 | 1 << 32  # 32 and 33 are libc's own: make ignores them in all that it starts, and nobody can undo it
    assert {int(word, 16) & ~own for word in words[1::2]} == {0}


@as_root
def test_a_command_runs_as_its_user(place):
    """command_user gives all three commands that user with its groups and home; it may open its own stderr."""
    tree = Tree(place, ROTATE + f'before = ["{say(place)}"]\ncommand_user = "nobody"\n')
    tree.log("a.log")
    done = tree.do()
    assert done.code == 0, done
    assert done.event("command.finished")["output"] == "told"
    nobody = pwd.getpwnam("nobody")
    uid, gid, groups = (place / "who").read_text().splitlines()
    assert (uid, gid) == (str(nobody.pw_uid), str(nobody.pw_gid))
    assert set(map(int, groups.split())) == set(os.getgrouplist("nobody", nobody.pw_gid))
    env = env_of(place)
    assert (env["HOME"], env["USER"], env["LOGNAME"]) == (nobody.pw_dir, "nobody", "nobody")


@as_root
def test_plan_says_as_whom_a_command_will_run(place):
    """The user is part of the plan, of before and after alike."""
    jobs = 'before = ["/bin/true"]\nafter = ["/bin/true"]\ncommand_user = "nobody"\n'
    tree = Tree(place, ROTATE + jobs)
    tree.log("a.log")
    details = [step["detail"] for step in tree.plan() if step.get("verb") == "run"]
    assert details == ["/bin/true (as nobody, at most 10s)"] * 2


def test_plan_shows_the_whole_command_that_will_run(place):
    """Of each command a plan shows every argument, quoted as for a shell, and as a list for programs."""
    tree = Tree(place, ROTATE + 'before = ["/bin/echo", "a b", "-rf"]\nafter = ["/bin/echo", "$HOME"]\n')
    tree.log("a.log")
    shown = [(step["detail"], step["argv"]) for step in tree.plan() if step.get("verb") == "run"]
    assert [argv for _, argv in shown] == [["/bin/echo", "a b", "-rf"], ["/bin/echo", "$HOME"]]
    assert [detail for detail, _ in shown] == [f"{shlex.join(argv)} (at most 10s)" for _, argv in shown]
    lines = tree.run("plan").stdout
    assert all(detail in lines for detail, _ in shown)


def test_an_unknown_user_is_an_error_of_the_config(place):
    """A command_user that the machine does not know is told by `check`, with its place."""
    tree = Tree(place, ROTATE + 'before = ["/bin/true"]\ncommand_user = "no such user"\n')
    done = tree.run("check")
    assert done.returncode == 1
    assert "maintd.toml:11:16: error: rotate.all.command_user: there is no user 'no such user'" in done.stderr


@as_root
@pytest.mark.parametrize(
    ("user", "mode", "words"),
    [
        ("nobody", 0o700, "may not be run by nobody"),
        (None, 0o600, "may not be run by root"),
    ],
)
def test_a_command_that_its_user_may_not_run_is_told_with_its_user(place, user, mode, words):
    """A program that the command's user may not execute is one failure that names both; nothing is rotated."""
    command = script(place, "exit 0")
    Path(command).chmod(mode)
    tree = Tree(place, ROTATE + f'before = ["{command}"]\n' + (f'command_user = "{user}"\n' if user else ""))
    tree.log("a.log")
    done = tree.do()
    assert words in done.event("command.failed")["error_msg"]
    assert tree.names() == ["a.log"]


@as_root
def test_without_the_right_to_change_users_a_command_is_not_run_as_another(place):
    """Without CAP_SETUID a command of another user fails with that reason, and is never run as maintd's own user."""
    tree = Tree(place, ROTATE + 'before = ["/bin/touch", "HERE/ran"]\ncommand_user = "nobody"\n')
    tree.log("a.log")
    failed = tree.do(powerless=True).event("command.failed")
    assert failed["error_msg"] == "maintd may not run commands as nobody"
    assert "run maintd as root" in failed["advice"]
    assert (tree.names(), (place / "ran").exists()) == (["a.log"], False)
