"""`maintd check` of logrotate's stanzas: what each will do, what is wrong with it, and what is dangerous now."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maintd.logrotate import dangers
from tests.conftest import until
from tests.tree import NOBODY, Forks

from .busy import busy

Check = Callable[[str], dict[str, Any]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """What `maintd check --json` says of stanzas, in which HERE is a directory of logs."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "stanzas").mkdir()
    config = tmp_path / "maintd.toml"
    config.write_text(
        f'[daemon]\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n'
        f'[logrotate.system]\ninclude = ["{tmp_path}/stanzas"]\nstate = "{tmp_path}/status"\n'
    )
    config.chmod(0o644)

    def asked(stanzas: str) -> dict[str, Any]:
        file = tmp_path / "stanzas/some"
        file.write_text(stanzas.replace("HERE", str(tmp_path / "logs")))
        file.chmod(0o644)
        done = Forks.of_this_process().run(["-c", str(config), "check", "--json"])
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    return asked


def about(answer: dict[str, Any], place: str) -> list[str]:
    """The warnings about a place in a file of stanzas."""
    return [one["message"] for one in answer["problems"] if f"{place}:" in one["message"]]


def test_it_says_what_each_stanza_will_do(check, tmp_path):
    """Two lines a stanza: where it stands, its logs and times; then what is done with them."""
    (tmp_path / "logs/a.log").touch()
    answer = check(
        "HERE/*.log {\n daily\n rotate 7\n maxsize 10M\n compress\n delaycompress\n create 640 root root\n"
        " postrotate\n true\n endscript\n}\nHERE/b {\n size 1M\n rotate 0\n copytruncate\n}\n"
    )
    job = answer["jobs"][0]
    assert job["files"] == 1
    how = "compressed by /bin/gzip one rotation later; archives by number, 7 archives kept"
    assert job["outlook"] == [
        f"{tmp_path}/stanzas/some:1 {tmp_path}/logs/*.log: 1 log, daily, or larger than 10.0 MiB",
        f"    renamed, and a new log made (0640); {how}; scripts: postrotate",
        f"{tmp_path}/stanzas/some:12 {tmp_path}/logs/b: 0 logs, from 1.0 MiB on",
        "    copied, and cut; archives by number, no archive is kept",
    ]
    assert "as soon as larger than" in job["when"]


def test_an_error_is_said_with_its_place(check):
    """A stanza with an error is a warning with file and line; the others are listed all the same."""
    answer = check("HERE/a {\n size many\n}\nHERE/b {\n daily\n}\n")
    assert about(answer, "stanzas/some:2")
    assert len(answer["jobs"][0]["outlook"]) == 2


@pytest.mark.parametrize(
    "command",
    [
        "supervisorctl reload",
        "/usr/bin/supervisorctl -c /etc/s.conf reload all",
        "kill -HUP $(cat /run/supervisord.pid)",
        "pkill -1 supervisord",
        "systemctl restart supervisor",
        "service supervisor restart",
        "/etc/init.d/supervisor force-reload >/dev/null",
    ],
)
def test_a_script_that_restarts_supervisord(check, command):
    """A script that restarts supervisord, and so every program, is named with what does no harm."""
    answer = check(f"HERE/a {{\n daily\n missingok\n postrotate\n  {command}\n endscript\n}}\n")
    assert any("restarts supervisord" in one and "SIGUSR2" in one for one in about(answer, "stanzas/some:1"))


@pytest.mark.parametrize(
    "command", ["supervisorctl restart web", "/usr/bin/supervisorctl -c /etc/s.conf restart all >/dev/null || true"]
)
def test_a_script_that_restarts_programs(check, command):
    """A script that has supervisord restart programs to rotate their logs is named with what does no harm."""
    answer = check(f"HERE/a {{\n daily\n missingok\n postrotate\n  {command}\n endscript\n}}\n")
    said = about(answer, "stanzas/some:1")
    assert [("starts them again" in one, "SIGUSR2" in one) for one in said] == [(True, True)]


def test_scripts_that_restart_nothing(check):
    """What only makes supervisord reopen its logs, or reloads another service, is no danger."""
    commands = "kill -USR2 $(cat /run/supervisord.pid)\nsupervisorctl status restart-me\n"
    commands += "systemctl reload nginx\nkill -HUP 1234"
    assert not about(check(f"HERE/a {{\n missingok\n postrotate\n{commands}\n endscript\n}}\n"), "stanzas/some:1")


@pytest.mark.parametrize(
    ("flags", "stanza", "expected"),
    [
        (0, "copytruncate", ["does not append"]),
        (os.O_APPEND, "copytruncate", []),
        (os.O_APPEND, "compress\n postrotate\n true\n endscript", ["compress without delaycompress"]),
        (os.O_APPEND, "compress\n delaycompress\n postrotate\n true\n endscript", []),
        (os.O_APPEND, "create", ["no script tells"]),
        (os.O_APPEND, "copy\n compress", []),
    ],
)
def test_a_log_that_a_process_has_open(check, tmp_path, flags, stanza, expected):
    """What a stanza would do under a process that has the log open now is named, with the process."""
    if os.geteuid() != 0:
        pytest.skip("who has a log open is seen by root: run the tests as root")
    log = tmp_path / "logs/a.log"
    with busy(log, flags) as writer:
        said = about(check(f"HERE/a.log {{\n daily\n {stanza}\n}}\n"), "stanzas/some:1")
    assert len(said) == len(expected)
    assert all(words in one for words, one in zip(expected, said, strict=True))
    assert all(f"pid {writer.process.pid}" in one for one in said)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a writer of another user")
@pytest.mark.parametrize(("mode", "said"), [(0o755, 1), (0o777, 0)])
def test_nocreate_where_the_writer_cannot_make_the_log(tmp_path, check, mode, said):
    """Without create, and with a writer that may not make the new log, there would be none after the rotation."""
    log = tmp_path / "logs/a.log"
    log.touch()
    log.chmod(0o666)
    argv = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "sh", "-c", "exec 3<>/proc/self/fd/1; echo; read end"]
    with log.open("a") as file, subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=file) as writer:
        until(lambda: log.stat().st_size, "the writer")
        log.parent.chmod(mode)
        found = about(check("HERE/a.log {\n daily\n su nobody nogroup\n nocreate\n}\n"), "stanzas/some:1")
        writer.kill()
    assert len([one for one in found if "may not make" in one]) == said


def test_no_new_log_where_its_writer_cannot_make_one(tmp_path):
    """A user who may not write a directory cannot make the log that nocreate leaves to it."""
    tmp_path.chmod(0o755)
    assert not dangers.may_create(os.geteuid() + 4711, str(tmp_path))
    assert dangers.may_create(os.geteuid(), str(tmp_path))


def test_what_else_runs_logrotate(tmp_path):
    """logrotate's own cron entries and its timer are named, and a commented line or an empty machine is not."""
    assert not list(dangers.of_schedules(str(tmp_path)))
    for folder in ("etc/cron.daily", "etc/cron.d", "etc/systemd/system/timers.target.wants"):
        (tmp_path / folder).mkdir(parents=True)
    daily = tmp_path / "etc/cron.daily/logrotate"
    daily.write_text("#!/bin/sh\n")
    (tmp_path / "etc/crontab").write_text("# 0 1 * * * root logrotate /etc/logrotate.conf\n")
    assert not list(dangers.of_schedules(str(tmp_path)))
    daily.chmod(0o755)
    (tmp_path / "etc/cron.d/own").write_text("0 1 * * * root /usr/sbin/logrotate /etc/logrotate.conf\n")
    (tmp_path / "etc/systemd/system/timers.target.wants/logrotate.timer").symlink_to("/nowhere")
    said = list(dangers.of_schedules(str(tmp_path)))
    assert [path in one for path, one in zip(("cron.daily", "cron.d/own", "logrotate.timer"), said, strict=True)]
    assert "systemctl disable --now logrotate.timer" in said[2]


def test_a_state_file_that_cannot_be_used(tmp_path):
    """A missing directory, a state file that all can lock, and lines that cannot be read are named."""
    assert "does not exist" in next(dangers.of_state(str(tmp_path / "none/status")))
    state = tmp_path / "status"
    assert not list(dangers.of_state(str(state)))
    state.write_text('logrotate state -- version 2\n"/a" never\n')
    state.chmod(0o644)
    said = list(dangers.of_state(str(state)))
    assert "bad line 2" in said[0]
    assert "chmod 640" in said[1]
