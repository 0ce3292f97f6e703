"""`check.heartbeat` and `maintd beat`, also for a user who may do nothing else."""

import grp
import os
import signal
import stat
import subprocess
import sys

import pytest

from maintd import cli, client
from maintd.errors import MaintdError
from tests.conftest import environment, until
from tests.tree import MAINTD, NOBODY

JOBS = '[check.heartbeat.backup]\ndown_age = "2s"\nevery = "1s"\ntimeout = "900ms"\nfail_after = 1\nrecover_after = 1\n'


def test_what_calls_in_is_up_and_what_falls_silent_is_down(daemon):
    """Unknown before the first beat, up after it, down when it stays away too long; the last beat survives kill -9."""
    one = daemon(JOBS.replace('"2s"', '"1h"')).start()
    until(lambda: one.status()["checks"][0]["reason"] == "nothing has called in yet", "it waits for the first")
    assert one.tree.run("beat", "backup").returncode == 0
    until(lambda: one.status()["checks"][0]["health"] == "up", "it is up")
    one.process.send_signal(signal.SIGKILL)
    one.process.communicate()
    one.tree.write_config(JOBS)
    one.start()
    failed = one.event("check.failed")
    assert "nothing has called in for" in failed["error_msg"]
    assert one.tree.run("beat", "check.heartbeat.backup").returncode == 0
    one.event("check.recovered")
    assert one.events("check.unknown") == []
    done = one.tree.run("beat", "other")
    assert done.returncode == 1
    assert "no heartbeat other" in done.stderr


def test_only_the_daemon_knows_who_has_called_in(tree):
    tree.write_config(JOBS)
    (event,) = tree.do().events("check.seen")
    assert event["health"] == "unknown"


def exit_code(argv: list[str], groups: list[int]) -> int:
    """How a command ends in a process of another user, who could not load the program where it lies here."""
    for verb in ("beat", "status", "pause", "resume", "reload"):
        cli._Verbs()[verb]
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        os.setgroups(groups)
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        sys.argv = argv
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        try:
            cli.main()
        except SystemExit as ending:
            os._exit(int(ending.code or 0))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_beat_waits_for_a_daemon_that_is_restarted(daemon):
    """What calls in while maintd is away is heard by the next one; without one it is told, after some seconds."""
    one = daemon(JOBS.replace('"2s"', '"1h"')).start()
    assert one.stop() == 0
    command = [MAINTD, "-c", one.tree.config, "beat", "backup"]
    with subprocess.Popen(command, env=environment()) as beat:
        with pytest.raises(subprocess.TimeoutExpired):
            beat.wait(1)
        one.start()
        assert beat.wait(30) == 0
    until(lambda: one.status()["checks"][0]["health"] == "up", "it was heard")
    assert one.stop() == 0
    assert subprocess.run(command, env=environment(), check=False, stderr=subprocess.DEVNULL).returncode == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_user_of_the_group_may_beat_and_ask_and_nothing_else(daemon):
    """The second socket is for root and its group alone, and knows only status and beat; the first stays closed."""
    one = daemon("")
    folder = one.tree.folder
    os.chmod(folder, 0o755)
    (folder / "state").mkdir(mode=0o700)
    settings = f'status_group = "games"\nstatus_dir = "{folder}/run-status"'
    one.tree.write_config(JOBS, daemon=settings)
    text = one.tree.config.read_text()
    one.tree.config.write_text(text.replace(f'runtime_dir = "{folder}/run"', f'runtime_dir = "{folder}/state/run"'))
    one.start()
    info = os.stat(folder / "run-status/status.sock")
    gid = grp.getgrnam("games").gr_gid
    assert (stat.S_IMODE(info.st_mode), info.st_gid) == (0o660, gid)
    assert stat.S_IMODE(os.stat(folder / "run-status").st_mode) == 0o750

    def as_user(*arguments: str, groups: list[int]) -> int:
        return exit_code([MAINTD.name, "-c", str(one.tree.config), *arguments], groups)

    assert as_user("beat", "backup", groups=[gid]) == 0
    assert as_user("status", groups=[gid]) == 0
    for verb in (["pause"], ["resume"], ["reload"]):
        assert as_user(*verb, groups=[gid]) == 4
    assert as_user("beat", "backup", groups=[]) == 4
    with pytest.raises(MaintdError, match="Not Found"):
        client.ask(str(folder / "run-status/status.sock"), "POST", "/pause", {"job": "*"})
    assert one.stop() == 0
    assert not (folder / "run-status/status.sock").exists()
