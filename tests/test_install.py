"""`make install`: versions side by side, switched by one rename, under a running daemon. Needs pip's index."""

import json
import os
import re
import shutil  # noqa: TID251 - copies the source tree for a second version
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import until

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "maintd",
    "deploy",
    "docs",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Makefile",
    *ROOT.glob("requirements*"),
)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
FAST = os.environ | {"PIP_NO_COMPILE": "1"}
"""Libraries are not compiled to bytecode beforehand: half of an installation's time."""


def install(source, prefix, *arguments, python=sys.executable):
    command = [python, source / "deploy/install.py", "--prefix", prefix, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=FAST)


def make_install(source, prefix):
    """What a person types."""
    command = ["make", "--no-print-directory", "install", f"PREFIX={prefix}", f"PYTHON={sys.executable}"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=FAST, cwd=source)


def version_of(prefix):
    done = subprocess.run(
        [prefix / "current/bin/maintd", "--version"], check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.split()[1]


def source_tree(folder, version, *, libraries=None):
    """A copy of the sources with another version; its lock holds all libraries, or only those that are named."""
    folder.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / os.path.basename(name))
    module = folder / "maintd/__init__.py"
    module.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', module.read_text()))
    if libraries is not None:
        entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text())
        kept = [entry for entry in entries if re.match(r"[\w.-]+", entry)[0] in libraries]
        (folder / "requirements.lock").write_text("\n".join(kept) + "\n")
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Skips if pip's index cannot be reached."""
    pinned = re.search(r"(?m)^click==\S+", (ROOT / "requirements.lock").read_text())[0]
    probe = [*PIP, "download", "--no-deps", "--dest", tmp_path_factory.mktemp("probe"), pinned]
    done = subprocess.run(probe, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        pytest.skip(f"pip cannot reach its index: {done.stderr.strip()[-200:]}")


class Daemon:
    """The daemon of an installed version, with one job that compresses what is asked of it."""

    def __init__(self, folder, maintd):
        self.folder = folder
        self.maintd = maintd.resolve()  # `current` will mean another version
        (folder / "data").mkdir()
        self.config = folder / "maintd.toml"
        self.config.write_text(
            f'[daemon]\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n'
            f'[compress.data]\npaths = ["{folder}/data/*.csv"]\nolder_than = "1h"\nevery = "1d"\n'
        )
        self.config.chmod(0o644)
        self.process = subprocess.Popen([maintd, "-c", self.config, "run"], stdout=subprocess.DEVNULL)
        until(lambda: self.ask("status").returncode == 0, "the daemon answers")

    def ask(self, *arguments):
        command = [self.maintd, "-c", self.config, *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)

    def works(self, name):
        """Whether it answers, and compresses a file: for that it starts a child from its own version's files."""
        file = self.folder / f"data/{name}.csv"
        file.write_text("1,2,3\n" * 1000)
        os.utime(file, (time.time() - 86_400,) * 2)
        assert json.loads(self.ask("status", "--json").stdout)["pid"] == self.process.pid
        done = self.ask("do", "compress.data")
        return done.returncode == 0 and file.with_suffix(".csv.zst").exists() and not file.exists()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.mark.timeout(400)
def test_upgrade_downgrade_and_uninstall_under_a_running_daemon(tmp_path, index):
    """The running daemon works on through each switch; uninstalling is refused until it has ended, then leaves nothing.

    The second version has but the library that --version needs, which spares the test half a minute.
    """
    prefix = tmp_path / "opt/maintd"
    old = source_tree(tmp_path / "old", "7.0.0")
    done = make_install(old, prefix)
    assert done.returncode == 0, done.stderr
    assert version_of(prefix) == "7.0.0"
    assert [path.name for path in old.glob(".venv*")] == [".venv-build"], "it makes more than it needs"
    build = old / ".venv-build/bin/python"
    page = prefix / "current/share/man/man1/maintd-plan.1"
    assert page.read_text() == (ROOT / "docs/man/maintd-plan.1").read_text()
    python = prefix / "current/bin/python"
    satisfied = subprocess.run(
        [*PIP, "--python", python, "check"], check=False, capture_output=True, text=True, timeout=60
    )
    assert satisfied.returncode == 0, f"the lock does not hold what the wheel asks for: {satisfied.stdout}"

    daemon = Daemon(tmp_path, prefix / "current/bin/maintd")
    try:
        assert daemon.works("before")

        new = source_tree(tmp_path / "new", "8.0.0", libraries={"click"})
        done = install(new, prefix, python=build)
        assert done.returncode == 0, done.stderr
        assert "supervisorctl restart maintd" in done.stdout
        assert version_of(prefix) == "8.0.0"
        assert daemon.works("after the upgrade")

        done = install(new, prefix, "--switch", "7.0.0")
        assert done.returncode == 0, done.stderr
        assert version_of(prefix) == "7.0.0"
        assert daemon.works("after the downgrade")

        done = install(new, prefix, "--uninstall")
        assert done.returncode == 1
        assert f"pid {daemon.process.pid}" in done.stderr
        assert daemon.works("after the refusal")
    finally:
        assert daemon.stop() == 0

    (prefix / "versions/notes.txt").write_text("not maintd's")
    done = install(new, prefix, "--uninstall")
    assert done.returncode == 0, done.stderr
    assert [str(path.relative_to(prefix)) for path in prefix.rglob("*")] == ["versions", "versions/notes.txt"]


CUT_OFF = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("install", sys.argv[1])
install = sys.modules["install"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)
install.mark = lambda *_, **__: os._exit(9)
install.main(["--prefix", sys.argv[2]])
"""


@pytest.mark.timeout(400)
def test_an_installation_that_was_cut_off_is_made_anew(tmp_path, index):
    """An installer that dies before its version carries its mark keeps no later one from installing that version."""
    source = source_tree(tmp_path / "source", "7.0.0", libraries={"click"})
    prefix = tmp_path / "opt"
    cut = subprocess.run([sys.executable, "-c", CUT_OFF, source / "deploy/install.py", prefix], check=False, env=FAST)
    assert cut.returncode == 9
    assert install(source, prefix, "--list").stdout == ""
    done = install(source, prefix)
    assert done.returncode == 0, done.stderr
    assert version_of(prefix) == "7.0.0"
    assert install(source, prefix, "--uninstall").returncode == 0
    assert not prefix.exists()


def fake_version(prefix, name, installed, *, complete=True):
    """What an earlier installation left, as far as the installer looks at it."""
    folder = prefix / "versions" / name
    folder.mkdir(parents=True)
    (folder / "maintd-install.json").write_text(json.dumps({"installed": installed, "complete": complete}))
    return folder


def test_old_versions_go_but_never_one_that_is_used(tmp_path):
    """Three versions are kept besides the one in force and those that a process runs from; what was cut off goes."""
    for number in range(1, 7):
        fake_version(tmp_path, f"{number}.0.0-aaaaaaaa", number)
    fake_version(tmp_path, "9.0.0-aaaaaaaa", 9, complete=False)
    used = tmp_path / "versions/1.0.0-aaaaaaaa/sleep"
    used.symlink_to(shutil.which("sleep"))
    process = subprocess.Popen([used, "60"])
    try:
        done = install(ROOT, tmp_path, "--switch", "2.0.0")
    finally:
        process.kill()
        process.wait()
    assert done.returncode == 0, done.stderr
    left = sorted(path.name[:5] for path in (tmp_path / "versions").iterdir() if path.is_dir())
    assert left == ["1.0.0", "2.0.0", "4.0.0", "5.0.0", "6.0.0"]
    assert os.readlink(tmp_path / "current") == "versions/2.0.0-aaaaaaaa"


def test_a_version_that_is_not_there_is_refused(tmp_path):
    """Switching to an unknown or unfinished version changes nothing and names those that there are."""
    fake_version(tmp_path, "1.0.0-aaaaaaaa", 1)
    fake_version(tmp_path, "2.0.0-aaaaaaaa", 2, complete=False)
    for wanted in ("2.0.0", "3.0.0"):
        done = install(ROOT, tmp_path, "--switch", wanted)
        assert done.returncode == 1
        assert "there are: 1.0.0-aaaaaaaa" in done.stderr
    assert not (tmp_path / "current").exists()


def test_what_somebody_else_made_is_left_alone(tmp_path):
    """A `current` that is no link is not replaced, and uninstalling where nothing is installed creates nothing."""
    fake_version(tmp_path / "a", "1.0.0-aaaaaaaa", 1)
    (tmp_path / "a/current").mkdir()
    done = install(ROOT, tmp_path / "a", "--switch", "1.0.0")
    assert done.returncode == 1
    assert "move it away" in done.stderr
    done = install(ROOT, tmp_path / "b", "--uninstall")
    assert done.returncode == 1
    assert not (tmp_path / "b").exists()
