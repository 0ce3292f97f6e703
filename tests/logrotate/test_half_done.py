"""What a rotation leaves that was cut off, by a kill or a full disk: every line once, and the next run makes good."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .beside import ours
from .busy import busy, lost
from .one_log import OURS, STRACE, gathered, laid, rotate, traced


@traced
def test_an_interrupted_collapse_is_completed(tmp_path: Path):
    """Killed while a log is collapsed, nothing is lost or doubled: the next run completes it, the one after goes on."""
    log = laid(tmp_path / "a", "daily\ncopytruncate", 1 << 20)
    (log.parent / "state").write_text(f'logrotate state -- version 2\n"{log}" 2026-1-1-1:0:0\n')
    (log.parent / "state").chmod(0o640)
    with busy(log, os.O_APPEND) as writer:
        kill = ["-f", "-o", "/dev/null", "-e", "trace=fallocate", "-e", "inject=fallocate:signal=SIGKILL"]
        assert rotate([STRACE, *kill, *OURS], log.parent).code == 1
        assert not (log.parent / "app.log.1").exists()
        assert "2026-1-1-" in (log.parent / "state").read_text()
        assert rotate(OURS, log.parent).code == 0
        assert (log.parent / "app.log.1").exists()
        assert list((log.parent / "state.intents").iterdir()) == []
        assert rotate(OURS, log.parent, "-f").code == 0
        written = writer.stop()
    assert sorted(path.name for path in log.parent.glob("app*")) == ["app.log", "app.log.1", "app.log.2"]
    assert lost(log.parent, "app.log", written) == 0


@traced
@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("create\ncompress", "renameat2:when=2"),
        ("create\ncompress\ndelaycompress", "fsync:when=1"),
        ("renamecopy\ncreate", "renameat2:when=2"),
    ],
)
def test_a_kill_leaves_nothing_behind(tmp_path: Path, body: str, call: str):
    """Killed at any point, the next runs make good: each line is there once, and no half of anything."""
    log = laid(tmp_path / "a", body)
    log.write_text("1\n")
    assert rotate(OURS, log.parent, "-f").code == 0
    log.write_text("2\n")
    name, _, when = call.partition(":")
    kill = ["-f", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:{when}"]
    rotate([STRACE, *kill, *OURS], log.parent, "-f")
    for _ in range(2):
        done = rotate(OURS, log.parent, "-f")
        assert log.exists(), done.stderr
    assert (done.code, done.stderr) == (0, "")
    assert [path for path in log.parent.iterdir() if "maintd" in path.name or path.name.endswith(".tmp")] == []
    assert sorted(gathered(list(log.parent.glob("app*")))) == [b"1\n", b"2\n"]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "full"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", place], check=False)
    if made.returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")
@pytest.mark.parametrize(
    "body",
    [
        "copytruncate",
        "copy",
        "compress\ncompressoptions -1",
        "compress\ncompresscmd /bin/cat",
        "renamecopy\nolddir FULL",
    ],
)
def test_a_disk_that_fills_up_half_way(full: Path, tmp_path: Path, body: str):
    """The log is whole in one place, no part of a copy stays, the run fails, and what is not done is not said to be.

    A log that was renamed is rotated: what could not be compressed is compressed at the next rotation.
    """
    conf = laid(tmp_path / "conf.d", body).parent
    (conf / "app.log").unlink()
    is_elsewhere = "FULL" in body
    log = (conf if is_elsewhere else full) / "app.log"
    (conf / "conf").write_text(f"{log} {{\nrotate 9\ndaily\n{body.replace('FULL', str(full))}\n}}\n")
    (conf / "state").write_text(f'logrotate state -- version 2\n"{log}" 2026-1-1-1:0:0\n')
    (conf / "state").chmod(0o640)
    content = os.urandom(600_000)
    log.write_bytes(content)
    if is_elsewhere:
        (full / "other").write_bytes(bytes(600_000))
    done = rotate(OURS, conf)
    assert done.code == 1
    assert "No space left" in done.stderr
    found = [path for path in (*full.iterdir(), *conf.glob("app*")) if path.name != "other"]
    assert [path.read_bytes() for path in found] == [content]
    is_stamped = "2026-1-1-" not in (conf / "state").read_text()
    assert is_stamped == ("compress" in body) == (found[0].name == "app.log.1")
    subprocess.run(["mount", "-o", "remount,size=4m", full], check=True)
    with log.open("ab") as file:
        file.write(b"more\n")
    done = rotate(OURS, conf, "-f")
    assert (done.code, len(done.stderr.splitlines())) == (0, 1 if is_elsewhere else 0)
    assert is_elsewhere == ("of an interrupted renamecopy is completed first" in done.stderr)
    found = gathered([*full.glob("app*"), *conf.glob("app*")])
    assert found in ([content, b"more\n"], [b"more\n", content], [content + b"more\n"], [content + b"more\n"] * 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")
def test_a_state_file_on_a_full_disk(full: Path, tmp_path: Path):
    """What could not be written down is said, the old state file stays whole, and nothing half written beside it."""
    log = laid(tmp_path / "a", "daily")
    log.write_text("a\n")
    state = full / "state"
    known = f'logrotate state -- version 2\n"{log}" 2026-1-1-1:0:0\n'
    state.write_text(known)
    state.chmod(0o640)
    with (full / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
        while True:
            rest.write(bytes(4096))
    done = ours("-s", state, log.parent / "conf")
    assert (done.code, "No space left" in done.stderr, (log.parent / "app.log.1").exists()) == (1, True, True)
    assert (state.read_text(), sorted(path.name for path in full.iterdir())) == (known, ["rest", "state"])
