"""`maintd restore` out of a repository of restic: as out of maintd's own snapshots."""

import json
import os
import shutil  # noqa: TID251 - only to find a tool
import socket
from pathlib import Path

import pytest

from .test_backup import at, database, rows_of, taken
from .test_restic_engine import JOB, initialized, restic, tree
from .test_restore import refused, restored, state, write
from .tree import NOBODY, Tree, files

__all__ = ["tree"]

pytestmark = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed (apt-get install restic)"
)


@pytest.fixture
def site(tree: Tree) -> Tree:
    """A database, a file and output in a snapshot of restic's; by now the first two are others."""
    initialized(tree)
    tree.write_config(JOB + '[backup.app.commands]\n"app.sql" = ["/bin/echo", "dump"]\n')
    database(tree.logs / "a.db")
    for name in ("p.csv", "odd [1]*\\.csv"):
        os.chmod(tree.log(name, b"first\n"), 0o640)
    os.utime(tree.logs / "p.csv", (1_700_000_000, 1_700_000_000))
    taken(tree)
    write(tree.logs / "a.db", 5)
    tree.log("p.csv", b"second\n")
    return tree


def brought(tree: Tree) -> list[Path]:
    """What is left of what was brought."""
    return [path for path in tree.folder.rglob("*maintd-tmp*") if "repository" not in path.parts]


def test_into_a_directory(site):
    """--to has copies, files and output, with mode and time; --only takes what it names, however it is spelt; --plan
    shows what restic will do, and changes nothing."""
    before = state(site)
    assert json.loads(site.run("backups", "--json").stdout)["files"] is None
    planned = site.run("restore", "app", "--to", f"{site.folder}/out", "--plan").stdout
    assert [line.split()[0] for line in planned.splitlines()[1:]] == ["bring", "verify", "unpack", "check", "name"]
    assert not (site.folder / "out").exists()
    restored(site, "app", "--to", f"{site.folder}/out")
    out = site.folder / "out"
    assert len(rows_of(at(out, site.logs / "a.db"))) == 100
    assert (out / "commands/app.sql").read_bytes() == b"dump\n"
    info = at(out, site.logs / "p.csv").stat()
    assert (info.st_mode & 0o7777, info.st_mtime) == (0o640, 1_700_000_000)
    odd = site.logs / "odd [1]*\\.csv"
    restored(site, "app", "--to", f"{site.folder}/one", "--only", str(odd), "--scratch", str(site.folder / "room"))
    assert [path.name for path in files(site.folder / "one")] == [odd.name]
    assert state(site) == before
    assert brought(site) == []


def test_in_place_and_undone(site):
    """In place as from any snapshot: the stale WAL goes aside, --undo brings back what was there, byte for byte."""
    Path(f"{site.logs}/a.db-wal").write_bytes(b"stale")
    before = state(site)
    restored(site, "app", "--in-place")
    assert len(rows_of(site.logs / "a.db")) == 100
    assert (site.logs / "p.csv").read_bytes() == b"first\n"
    assert not Path(f"{site.logs}/a.db-wal").exists()
    restored(site, "app", "--undo")
    assert state(site) == before
    assert brought(site) == []


def test_a_failing_check_puts_everything_back(site):
    """The set's checks are those that it had when the snapshot was taken; if one fails, the state of before is back."""
    site.write_config(JOB + 'checks = [["/bin/false"]]\n')
    taken(site)
    write(site.logs / "a.db", 1)
    before = state(site)
    assert "the check /bin/false ended with 1" in refused(site, "app", "--in-place")
    assert state(site) == before
    assert brought(site) == []


def test_what_is_not_what_it_was_is_refused(site):
    """A copy that was changed by somebody who has the repository's password is not what maintd's manifest says; a
    snapshot without a manifest is restic's to restore, and the message says how. Nothing is touched."""
    before = state(site)
    out = site.folder / "changed"
    restic(site, "restore", "latest", "--target", str(out))
    with at(out / "maintd", site.logs / "a.db").open("ab") as copy:
        copy.write(b"more")
    for top, said in (("maintd", "not what it was"), (".", "no manifest of maintd's")):
        argv = ["backup", "--tag", "maintd:app,maintd-whole", "--host", socket.gethostname(), top]
        os.rename(out / "maintd/manifest.json", out / "maintd/kept") if top == "." else None
        restic(site, *argv, cwd=out)
        assert said in refused(site, "app", "--in-place")
    assert state(site) == before
    assert brought(site) == []


def test_owners_come_back(tree):
    """As root a file gets the owner that it had, and another user's database is checked as that user."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    initialized(tree)
    tree.folder.chmod(0o755)
    path, csv = database(tree.logs / "a.db"), tree.log("p.csv", b"1\n")
    for one in (tree.logs, path, csv):
        os.chown(one, NOBODY, NOBODY)
    taken(tree)
    for one in (path, csv):
        os.chown(one, 0, 0)
    restored(tree, "app", "--in-place")
    assert {one.stat().st_uid for one in (path, csv)} == {NOBODY}
