"""Only durable changes the disk: held by an audit hook in every process of real runs, and by who imports what."""

import ast
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import maintd

from .conftest import environment, until
from .tree import MAINTD, Tree

PACKAGE = Path(maintd.__path__[0])


@cache
def sources() -> dict[str, ast.Module]:
    """The modules by their paths below the package."""
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


# Python runs this at the start of each process, so also in maintd's children (site(3), sitecustomize).
HOOK = """
import json, os, sys

RECORD = os.open({record!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
CHANGES = {{"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
           "os.chown", "os.utime", "os.setxattr", "os.removexattr", "os.chflags", "tempfile.mkstemp"}}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def note(event, arguments):
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or not flags & WRITES:
            return
    elif event not in CHANGES and not event.startswith("shutil."):
        return
    frame = sys._getframe(1)
    while frame and not frame.f_code.co_filename.startswith({package!r}):
        frame = frame.f_back
    module = os.path.relpath(frame.f_code.co_filename, {package!r}) if frame else ""
    path = arguments[0] if arguments else ""
    path = os.fsdecode(path) if isinstance(path, (str, bytes)) else repr(path)
    os.write(RECORD, json.dumps([module, event, path]).encode() + b"\\n")

sys.addaudithook(note)
"""

JOBS = """
[rotate.all]
paths = ["LOGS/*.log"]
max_size = "1K"
cron = "@daily"
keep = 2
olddir = "old"
after = ["/bin/true"]
[archive.all]
paths = ["LOGS/*.dat"]
to = "LOGS/archive"
cron = "@daily"
older_than = "1d"
[expire.all]
paths = ["LOGS/**/*.tmp"]
cron = "@daily"
keep_last = 1
empty_directories = true
[backup.app]
cron = "@daily"
destination = "HERE/kept"
databases = ["LOGS/*.db"]
files = ["LOGS/*.txt"]
keep = 1
[drill.app]
cron = "@daily"
destination = "HERE/kept"
set = "app"
[sqlite.all]
cron = "@daily"
paths = ["LOGS/*.db"]
indexes = ["t(x)"]
[compress.all]
paths = ["LOGS/*.csv"]
cron = "@daily"
older_than = "1d"
"""


@pytest.fixture(scope="module")
def changes() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """The folder of real runs of nearly everything, and (module, audit event, path) of every change in them."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as name:
        folder = Path(name).resolve()
        (folder / "site").mkdir()
        hook = HOOK.format(record=str(folder / "record"), package=str(PACKAGE))
        (folder / "site/sitecustomize.py").write_text(hook)
        tree = Tree(folder, JOBS)
        _leave_work(tree)
        for arguments in (["plan"], ["check"], ["do", "--all"]):
            _run(tree, *arguments)
        for way in (["--to", f"{name}/out"], ["--in-place"], ["--undo"], ["--in-place"], ["--forget"]):
            done = _run(tree, "restore", "app", *way)
            assert done.returncode == 0, done.stderr
        (folder / "state/state.sqlite").write_bytes(b"damaged" * 100)
        _live(tree)
        lines = (folder / "record").read_text().splitlines()
        yield name, [tuple(json.loads(line)) for line in lines]


def _leave_work(tree: Tree) -> None:
    with contextlib.closing(sqlite3.connect(tree.logs / "a.db")) as database:
        database.execute("CREATE TABLE t (x)")
        database.commit()
    for name in ("a.log", "b.log", "b.log.maintd-tmp", "c.csv.zst.maintd-tmp"):
        tree.log(name, b"" if name.endswith("tmp") else b"content\n" * 10)
    for day in range(1, 6):
        tree.log(f"old/a.log.2026010{day}T000000Z.zst")
    for name in ("d.dat", "e.tmp", "empty/f.tmp", "empty/g.tmp"):
        tree.log(name, b"data\n" * 10, age=1e6)
    os.setxattr(tree.log("c.csv", b"data\n" * 100, age=1e6), "user.origin", b"here")


def _environment(tree: Tree) -> dict[str, str]:
    return environment(PYTHONPATH=str(tree.folder / "site"), PYTHONDONTWRITEBYTECODE="1")


def _run(tree: Tree, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [MAINTD, "-c", tree.config, *arguments], check=False, capture_output=True, timeout=60, env=_environment(tree)
    )


def _live(tree: Tree) -> None:
    """A daemon's life: a state that is damaged, growth, reload, pause, resume, do, the end."""
    output = tree.folder / "events"
    with output.open("wb") as stdout:
        daemon = subprocess.Popen([MAINTD, "-c", tree.config, "run"], stdout=stdout, env=_environment(tree))
    try:
        until(lambda: b'"daemon.started"' in output.read_bytes(), "the start")
        tree.log("grown.log", b"x" * 2000)
        until(lambda: b'"log.compressed"' in output.read_bytes(), "growth", 20)
        tree.write_config(JOBS + 'min_size = "1"\n')
        for arguments in (["reload"], ["pause"], ["status"], ["resume"], ["do", "--all"]):
            assert _run(tree, *arguments).returncode == 0, arguments
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0


def _is_allowed(module: str, path: str, folder: str) -> bool:
    if module.startswith("durable/") or path == os.devnull:
        return True
    homes = {
        "database.py": f"{folder}/state/",
        "control.py": f"{folder}/run",
        "commands.py": "/proc/self/fd/",  # a pipe, opened anew
    }
    return module in homes and path.startswith(homes[module])


def test_only_durable_changes_the_disk(changes):
    """In plan, check, do and a daemon's life, children included, no other module changes, makes or removes a file."""
    folder, found = changes
    assert [change for change in found if not _is_allowed(change[0], change[2], folder)] == []


def test_the_hook_sees_what_durable_does(changes):
    """The proof is worth something: the changes that must have been made were seen, in parent and child."""
    _, found = changes
    seen = {event for module, event, _ in found if module.startswith("durable/")}
    assert seen >= {"open", "os.mkdir", "os.remove", "os.chmod", "os.utime", "os.setxattr"}
    assert any(path.endswith("c.csv.zst.maintd-tmp") for module, event, path in found if event == "open")
    assert ("database.py", "os.rename") in {(module, event) for module, event, _ in found}


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield node.attr


def test_what_no_hook_sees_is_used_by_durable_alone():
    """The rename by system call, which no audit event tells of, is used in durable and nowhere else."""
    users = [module for module, tree in sources().items() if "rename_noreplace" in _names(tree)]
    assert {os.path.dirname(user) for user in users} == {"durable"}


def test_ctypes_is_used_in_linux_alone():
    """No other module makes system calls past Python, where no hook could see them."""
    users = [
        module
        for module, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and re.search(r"\bctypes\b", ast.unparse(node))
    ]
    assert set(users) == {"linux.py"}


def _calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    for module, tree in sources().items():
        for node in ast.walk(tree):
            called: Any = node.func if isinstance(node, ast.Call) else None
            if called is not None and name in (getattr(called, "id", ""), getattr(called, "attr", "")):
                assert isinstance(node, ast.Call)
                yield module, node


def test_open_beneath_only_ever_reads():
    """openat2, which no audit event tells of either, is asked for reading only."""
    calls = list(_calls("open_beneath"))
    assert calls
    for module, call in calls:
        assert "os.O_RDONLY" in ast.unparse(call.args[1]), module
        assert not re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", ast.unparse(call.args[1])), module
