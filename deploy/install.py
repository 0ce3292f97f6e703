"""Installs maintd below a prefix: one virtual environment a version, and the link `current` to the one in force.

`install.py --prefix DIR` builds the wheel of this source tree and installs it with the locked libraries into
DIR/versions/VERSION-HASH; then DIR/current is switched to it by one rename. A running daemon keeps the files of its own
version until it is restarted. `--switch VERSION` goes back to an installed version, `--list` names them, `--uninstall`
removes what was installed here and nothing else. To build, it has to run in an environment with hatchling and pip.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil  # noqa: TID251 - removes versions that it has installed; the daemon's disk changes are not made here
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = "maintd-install.json"
"""In the environment of each version: what it is, and whether it is complete. What has no such file is not ours."""
MAKING = ".making"
"""Among the versions: the folder of one that has no mark yet. It gets its name with its mark in it."""
KEPT = 3
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")


class Unfit(Exception):
    """It cannot be done; the message says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Version:
    """One installed version: `name` is VERSION-HASH, `installed` orders them (nanoseconds)."""

    path: Path
    installed: int
    is_complete: bool

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True, slots=True)
class Prefix:
    """Where versions live side by side."""

    path: Path

    @property
    def versions(self) -> Path:
        return self.path / "versions"

    @property
    def link(self) -> Path:
        return self.path / "current"

    def installed(self) -> list[Version]:
        """Oldest first, also those that were cut off while being installed."""
        found = []
        for mark in self.versions.glob(f"[!.]*/{MARK}"):
            said = json.loads(mark.read_text())
            found.append(Version(mark.parent, said["installed"], said["complete"]))
        return sorted(found, key=lambda version: version.installed)

    def current(self) -> str:
        """The name of the version in force, or nothing."""
        try:
            return os.path.basename(os.readlink(self.link))
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Unfit(f"{self.link} is no symbolic link: move it away") from error

    def switch(self, version: Version) -> None:
        """Puts a version in force, at once for everybody who looks."""
        self.current()
        fresh = self.path / f".current.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.join("versions", version.name))
        fresh.rename(self.link)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps a second installer out meanwhile."""
        self.versions.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.versions / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Unfit(f"another installer is at work in {self.path}") from None
        finally:
            os.close(descriptor)


def build(into: str) -> Path:
    """Builds the wheel of this source tree. The same sources give the same bytes."""
    try:
        from hatchling.build import build_wheel  # noqa: PLC0415 - switching and uninstalling do without
    except ImportError:
        raise Unfit("hatchling is not there: run `make install`, which provides it") from None
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        return Path(into, build_wheel(into))
    finally:
        os.chdir(before)


def install(prefix: Prefix) -> Version:
    """Installs this source tree, if it is not installed yet."""
    lock = ROOT / "requirements.lock"
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(folder)
        digest = hashlib.sha256(wheel.read_bytes() + lock.read_bytes()).hexdigest()[:8]
        name = f"{wheel.name.split('-')[1]}-{digest}"
        known = next((version for version in prefix.installed() if version.name == name and version.is_complete), None)
        return known or make(prefix.versions / name, wheel, lock)


def make(path: Path, wheel: Path, lock: Path) -> Version:
    """Makes the environment of a version, from the lock and the wheel alone. A half-made one is made anew."""
    if path.exists():
        if not (path / MARK).exists():
            raise Unfit(f"{path} was not made by this installer: move it away")
        shutil.rmtree(path)
    installed = max((version.installed for version in Prefix(path.parents[1]).installed()), default=0) + 1
    making = cleared(path.parent / MAKING)
    making.mkdir()
    mark(making, installed, is_complete=False)
    making.rename(path)
    venv.create(path, symlinks=True, with_pip=False)
    pip = (*PIP, "--python", str(path / "bin/python"), "install", "--no-deps")
    subprocess.run([*pip, "--require-hashes", "-r", str(lock)], check=True)
    subprocess.run([*pip, "--no-index", str(wheel)], check=True)
    subprocess.run([str(path / "bin/maintd"), "--version"], check=True, stdout=subprocess.DEVNULL)
    mark(path, installed, is_complete=True)
    return Version(path, installed, is_complete=True)


def cleared(making: Path) -> Path:
    """The folder's path, without what an installer that was cut off left there."""
    if making.exists():
        shutil.rmtree(making)
    return making


def mark(path: Path, installed: int, *, is_complete: bool) -> None:
    fresh = path / f"{MARK}.new"
    fresh.write_text(json.dumps({"installed": installed, "complete": is_complete}) + "\n")
    fresh.rename(path / MARK)


def users(path: Path) -> list[int]:
    """The pids of the processes that run from an environment: by their command line, or by a library they have mapped.

    Other users' mappings can be read by root only, their command lines by everybody.
    """
    needle = os.fsencode(path) + b"/"
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        for file in ("cmdline", "maps"):
            with contextlib.suppress(OSError):
                if needle in (folder / file).read_bytes():
                    found.append(int(folder.name))
                    break
    return sorted(found)


def prune(prefix: Prefix) -> list[str]:
    """Removes old versions: all but the newest few, the one in force, and those that a process uses."""
    installed = prefix.installed()
    newest = [version.name for version in installed if version.is_complete][-KEPT:]
    kept = {*newest, prefix.current()}
    gone = [version for version in installed if version.name not in kept and not users(version.path)]
    for version in gone:
        shutil.rmtree(version.path)
    return [version.name for version in gone]


def wanted(prefix: Prefix, name: str) -> Version:
    """The installed version of this name; `0.1.0` means the newest of 0.1.0-HASH."""
    complete = [version for version in prefix.installed() if version.is_complete]
    fitting = [version for version in complete if version.name == name or version.name.startswith(f"{name}-")]
    if not fitting:
        known = ", ".join(version.name for version in complete) or "none"
        raise Unfit(f"version {name} is not installed in {prefix.path}; there are: {known}")
    return fitting[-1]


def uninstall(prefix: Prefix) -> None:
    """Removes every version and the link, and the folders if nothing else lies in them."""
    current, installed = prefix.current(), prefix.installed()
    for version in installed:
        pids = users(version.path)
        if pids:
            who = ", ".join(map(str, pids))
            raise Unfit(f"{version.path} is in use (pid {who}): stop it first (supervisorctl stop maintd)")
    if current and current in {version.name for version in installed}:
        prefix.link.unlink()
    for version in installed:
        shutil.rmtree(version.path)
    cleared(prefix.versions / MAKING)
    (prefix.versions / ".lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else lies there
        prefix.versions.rmdir()
        prefix.path.rmdir()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Installs maintd, one environment a version.")
    parser.add_argument("--prefix", type=Path, required=True, metavar="DIR", help="such as /opt/maintd")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--switch", metavar="VERSION", help="put an installed version in force")
    what.add_argument("--list", action="store_true", help="name the installed versions")
    what.add_argument("--uninstall", action="store_true", help="remove every version")
    given = parser.parse_args(arguments)
    prefix = Prefix(given.prefix.resolve())
    try:
        if given.list:
            listed(prefix)
            return 0
        if (given.switch or given.uninstall) and not prefix.installed():
            raise Unfit(f"nothing is installed in {prefix.path}")
        with prefix.alone():
            changed(prefix, given)
    except subprocess.CalledProcessError as error:
        print(
            f"install.py: {error.cmd[0]} failed with exit code {error.returncode}; nothing was switched",
            file=sys.stderr,
        )
        return 1
    except Unfit as error:
        print(f"install.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = error.filename or prefix.path
        print(f"install.py: {where}: {error.strerror} (name another directory: make install PREFIX=…)", file=sys.stderr)
        return 1
    return 0


def listed(prefix: Prefix) -> None:
    for version in prefix.installed():
        words = ["current"] if version.name == prefix.current() else []
        words += [] if version.is_complete else ["incomplete"]
        words += [f"used by pid {pid}" for pid in users(version.path)]
        print(version.name, f"({', '.join(words)})" if words else "")


def changed(prefix: Prefix, given: argparse.Namespace) -> None:
    """Does what was asked, and says what is to be done next."""
    if given.uninstall:
        uninstall(prefix)
        print(f"removed maintd from {prefix.path}; its config, state and logs are where they were")
        return
    before = prefix.current()
    version = wanted(prefix, given.switch) if given.switch else install(prefix)
    prefix.switch(version)
    for name in prune(prefix):
        print(f"removed the old version {name}")
    print(f"{prefix.link} is {version.name}" + (f", it was {before}" if before not in ("", version.name) else ""))
    if before and before != version.name:
        print("a running maintd goes on with its own version until: supervisorctl restart maintd")
    if not before:
        print(
            "next: config/maintd.toml, as /etc/maintd/maintd.toml, and deploy/supervisord.conf.d/maintd.conf (README)"
        )


if __name__ == "__main__":
    sys.exit(main())
