"""A state database that cannot be used: it is set aside and told, and no log waits for it."""

import random
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import until

from .daemon import ONE


def _damaged(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def _torn(path: Path) -> None:
    _newer(path, 1)
    path.write_bytes(path.read_bytes()[:4096] + random.Random(1).randbytes(8192))


def _newer(path: Path, version: int = 99) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE something (x)")
    database.executemany("INSERT INTO something VALUES (?)", [("x" * 100,)] * 300)
    database.execute(f"PRAGMA user_version = {version}")
    database.commit()
    database.close()


@pytest.mark.parametrize("spoil", [_damaged, _torn, _newer])
def test_a_state_that_cannot_be_used_is_set_aside(daemon, spoil):
    """A state database that is damaged, torn or newer is kept under another name, told, and begun anew."""
    one = daemon(ONE)
    state = one.tree.folder / "state"
    state.mkdir(mode=0o700)
    spoil(state / "state.sqlite")
    before = (state / "state.sqlite").read_bytes()
    one.start()
    reset = one.event("state.reset")
    kept = Path(reset["set_aside_as"])
    assert kept.read_bytes() == before
    assert reset["reason"]
    assert one.rotates("a/x.log")
    assert one.stop() == 0
    one.start()
    assert len(one.events("state.reset")) == 1


def test_without_a_state_the_work_goes_on(daemon):
    """Where the state database should be is something that is no file: it stays, that is said, and logs are rotated."""
    one = daemon(ONE)
    (one.tree.folder / "state").mkdir(mode=0o700)
    (one.tree.folder / "state/state.sqlite").mkdir()
    one.start()
    assert one.rotates("a/x.log")
    assert one.tree.run("pause", "rotate.a").returncode == 0
    until(lambda: one.state_of("rotate.a") == "paused", "the job is paused")
    assert one.stop() == 0
    assert len(one.events("state.failed")) == 1
    assert (one.tree.folder / "state/state.sqlite").is_dir()
