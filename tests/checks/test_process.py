"""`check.process` against a real supervisord with programs that run, crash, hang in their start and go FATAL."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import until
from tests.end_to_end.daemon import Daemon
from tests.end_to_end.stage import SUPERVISORD
from tests.tree import Tree

from .conftest import seen
from .servers import listens, respond
from .test_servers import ended, free_port

BUSY = "import time\nwhile True: pass"
SERVER = "import socket,time; s = socket.create_server(('127.0.0.1', {port})); b = bytearray(60 << 20); time.sleep(600)"
WEB = '[check.process.web]\nprogram = "web:*"\nevery = "1s"\ntimeout = "900ms"\nfail_after = 1\ndown_restarts = 1\n'


@pytest.fixture
def supervisor(tree: Tree) -> Iterator[tuple[Callable[..., str], int]]:
    """supervisord in the tree's folder: a call of supervisorctl, and the port on which `web:server` listens."""
    folder, port = tree.folder, free_port()
    (folder / "server.py").write_text(SERVER.format(port=port))
    (folder / "busy.py").write_text(BUSY)
    (folder / "supervisord.conf").write_text(
        f"[supervisord]\nlogfile={folder}/s.log\npidfile={folder}/s.pid\nnodaemon=true\nchildlogdir={folder}\n"
        f"[unix_http_server]\nfile={folder}/supervisor.sock\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{folder}/supervisor.sock\n"
        f"[program:server]\ncommand={sys.executable} {folder}/server.py\nstartsecs=0\n"
        f"[program:busy]\ncommand={sys.executable} {folder}/busy.py\nstartsecs=0\n"
        "[program:crash]\ncommand=/bin/sh -c 'exit 7'\nstartretries=1\nstartsecs=1\n"
        "[program:missing]\ncommand=/no/such/program\nstartretries=0\n"
        "[program:starting]\ncommand=/bin/sleep 600\nstartsecs=500\n"
        "[program:once]\ncommand=/bin/true\nstartsecs=0\nautorestart=false\n"
        "[group:web]\nprograms=server,busy\n"
    )

    def ctl(*arguments: str) -> str:
        done = subprocess.run(
            [SUPERVISORD.with_name("supervisorctl"), "-c", folder / "supervisord.conf", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout

    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ended(subprocess.Popen([SUPERVISORD, "-c", folder / "supervisord.conf"], **silent)):
        until(lambda: "FATAL" in (text := ctl("status")) and "BACKOFF" not in text, "all have come to something", 30)
        until(lambda: listens(port), "the server listens", 30)
        yield ctl, port


def test_programs_of_supervisord(tree, supervisor):
    """Each state of a program is told as what it is, and what its processes use is judged."""
    _, port = supervisor
    options = {
        "well": (f'program = "web:server"\nports = [{port}]\ndown_connections = 900', "up"),
        "group": ('program = "web:*"', "up"),
        "memory": ('program = "web:server"\ndegraded_memory = "50M"', "degraded"),
        "files": ('program = "web:server"\ndown_files = 2', "down"),
        "threads": ('program = "web:server"\ndown_threads = 1', "down"),
        "young": ('program = "web:server"\ndegraded_uptime = "1d"', "degraded"),
        "port": (f'program = "web:server"\nports = [{port}, 9]', "down"),
        "crash": ('program = "crash"', "down"),
        "missing": ('program = "missing"', "down"),
        "starting": ('program = "starting"', "degraded"),
        "exited": ('program = "once"', "down"),
        "once": ('program = "once"\nstates = ["RUNNING", "EXITED"]', "up"),
        "unknown": ('program = "no-such-program"', "down"),
    }
    found = seen(tree, "".join(f"[check.process.{name}]\n{text}\n" for name, (text, _) in options.items()))
    healths = {name.rpartition(".")[2]: event["health"] for name, event in found.items()}
    assert healths == {name: health for name, (_, health) in options.items()}, found
    assert "it does not listen on port 9" in found["check.process.port"]["reason"]
    assert "no such program" in found["check.process.missing"]["reason"].lower() or "can't find command" in str(found)


def test_a_crash_is_told_and_so_are_restarts_and_cpu(daemon, supervisor, tree):
    """kill -9 of a program that comes back is seen as a restart; one that burns CPU as that."""
    ctl, _ = supervisor
    one = daemon(
        '[check.process.server]\nprogram = "web:server"\nevery = "1s"\ntimeout = "900ms"\ndegraded_restarts = 1\n'
        'fail_after = 1\n[check.process.busy]\nprogram = "web:busy"\nevery = "1s"\ntimeout = "900ms"\n'
        'degraded_cpu = "1%"\n'
    )
    text = Path(one.tree.config).read_text()
    Path(one.tree.config).write_text(
        text.replace(f"{one.tree.folder}/supervisor.sock", f"{tree.folder}/supervisor.sock")
    )
    one.start()
    one.event("check.degraded", job="check.process.busy")
    until(
        lambda: next(c for c in one.status()["checks"] if c["name"] == "check.process.server")["health"] == "up", "up"
    )
    os.kill(int(ctl("pid", "web:server")), signal.SIGKILL)
    event = one.event("check.degraded", job="check.process.server")
    assert "1 restart within 10m" in event["reason"]


def test_a_restart_that_was_asked_for_is_no_crash(supervisor, tree):
    """`supervisorctl restart` of a group, and `reload`, count for nothing; a program that crashes after it does."""
    ctl, _ = supervisor
    tree.logs.rmdir()  # the daemon makes its own
    one = Daemon(tree.folder, WEB)
    try:
        one.start()
        until(lambda: "0 restarts" in _last_reason(one), "it has looked", 20)
        for asked in (("restart", "web:*"), ("reload",)):
            before = _pids(ctl)
            ctl(*asked)
            until(lambda before=before: len(_pids(ctl) - before) == 2, "they run again", 30)
            looked = one.status()["checks"][0]["last_look"]
            until(lambda looked=looked: one.status()["checks"][0]["last_look"] > looked, "it has looked again", 20)
        assert "0 restarts within 10m" in _last_reason(one)
        os.kill(int(ctl("pid", "web:server")), signal.SIGKILL)
        until(lambda: "1 restart within 10m" in _last_reason(one), "the crash counts", 20)
    finally:
        one.end()


def _pids(ctl: Callable[..., str]) -> set[str]:
    """Of the programs of the group that run."""
    return {pid for pid in ctl("pid", "web:busy", "web:server").split() if pid.isdigit() and pid != "0"}


def test_no_supervisord_is_unknown(tree):
    """Where supervisord does not answer nobody can say that its programs are down."""
    found = seen(tree, '[check.process.a]\nprogram = "a"\n')
    assert found["check.process.a"]["health"] == "unknown"
    assert "does not answer" in found["check.process.a"]["reason"]


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"p\xe9", "it is not UTF-8")])
def test_a_password_for_supervisord_that_cannot_be_read_is_named(tree, web, content, reason):
    """Where supervisord refuses because maintd has no password, it is said which file cannot be read, and why."""
    web.answers["/RPC2"] = lambda made, _: respond(made, 401, b"")
    if content is not None:
        (tree.folder / "password").write_bytes(content)
    tree.write_config('username = "u"\npassword_file = "HERE/password"\n[check.process.a]\nprogram = "a"\n')
    tree.config.write_text(tree.config.read_text().replace(f"unix://{tree.folder}/supervisor.sock", web.url))
    (told,) = tree.do().events("check.seen")
    assert told["health"] == "unknown"
    assert "answers 401 Whatever; " in told["reason"]
    assert f"{tree.folder}/password cannot be read: {reason}" in told["reason"]
    assert told["advice"] == "it is asked without its password: see [supervisor] password_file and password_env"


def test_another_program_after_a_reload_is_measured_from_then_on(supervisor, tree):
    """All CPU that a program has used in its life is not what it used since the last look, which was at another one."""
    job = '[check.process.a]\nprogram = "web:{}"\nevery = "1s"\ntimeout = "900ms"\nfail_after = 1\ndown_cpu = "300%"\n'
    tree.logs.rmdir()  # it makes its own
    one = Daemon(tree.folder, job.format("server"))
    try:
        one.start()
        until(lambda: "of a core" in (one.status()["checks"][0]["reason"] or ""), "it measures", 20)
        one.tree.write_config(job.format("busy"))
        assert one.tree.run("reload").returncode == 0
        until(lambda: re.search(r"RUNNING, [^,]*, \d\d+% of a core", _last_reason(one)), "it measures the other", 20)
        assert not one.events("check.failed")
    finally:
        one.end()


def _last_reason(one: Daemon) -> str:
    return one.status()["checks"][0]["last_reason"] or ""
