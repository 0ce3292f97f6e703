"""Several machines that have a set of one name in one place: each counts, expires and restores its own."""

import json
import shutil  # noqa: TID251 - only to find a tool
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintd import hosts

from .restic import PASSWORD, Repository
from .test_backup import database, rewrite, taken
from .tree import Did, Tree

JOB = """
[backup.app]
cron = "@daily"
destination = "SHARED"
databases = ["LOGS/*.db"]
keep = 2
"""
RESTIC = """
[backup.app]
cron = "@daily"
engine = "restic"
repository = "SHARED/repository"
password_file = "SHARED/password"
databases = ["LOGS/*.db"]
keep = 1
"""
DRILL = '[drill.app]\ncron = "@weekly"\ndestination = "SHARED"\nset = "app"\n'


@pytest.fixture
def shared() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Path(folder).resolve()


def machine(shared: Path, host: str, jobs: str, *, named: bool = True) -> Tree:
    """A machine of that name with a database of that name, and its config."""
    (shared / host).mkdir()
    tree = Tree(shared / host)
    configure(tree, shared, host if named else "", jobs)
    database(tree.logs / f"{host}.db")
    return tree


def configure(tree: Tree, shared: Path, host: str, jobs: str) -> None:
    named = jobs.replace("keep =", f'host = "{host}"\nkeep =') if host else jobs
    tree.write_config(named.replace("SHARED", str(shared / "kept")))


def labels(tree: Tree, *arguments: str) -> list[str]:
    return [json.loads(line)["snapshot"] for line in tree.run("backups", "--json", *arguments).stdout.splitlines()]


def brought(tree: Tree, out: Path, *arguments: str) -> list[str]:
    """The names of the databases that a restore brings."""
    done = tree.run("restore", *arguments, "--to", str(out))
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path in out.rglob("*.db"))


def stored(tree: Tree) -> Did:
    did = taken(tree)
    assert did.code == 0, str(did)
    return did


def test_a_directory_of_two_machines(shared):
    """Each machine's snapshots stay, whatever the other's `keep`; `backups`, a restore and a drill see its own; with
    --in any of them is there by its stamp, and without one nobody guesses whose is meant. One whose manifest cannot be
    read may be anybody's: it stays, and is told by all three."""
    alpha, beta = machine(shared, "alpha", JOB + DRILL), machine(shared, "beta", JOB)
    for tree in (alpha, alpha, beta, beta):
        stored(tree)
    assert stored(beta).events("snapshot.expired")
    assert len(labels(alpha)) == len(labels(beta)) == 2
    assert not set(labels(alpha)) & set(labels(beta))
    assert brought(alpha, shared / "1", "app") == ["alpha.db"]
    configure(alpha, shared, "alpha", JOB + DRILL + 'host = "alpha"\n')
    assert alpha.do("drill.app").event("restore.proven")["target"].endswith(labels(alpha)[-1].partition("@")[2])
    assert len(labels(alpha, "--in", str(shared / "kept"))) == 4
    assert brought(beta, shared / "2", labels(alpha)[0], "--in", str(shared / "kept")) == ["alpha.db"]
    refused = beta.run("restore", "app", "--in", str(shared / "kept"), "--to", str(shared / "3"))
    assert refused.returncode == 1
    assert "several machines" in refused.stderr
    manifest = shared / "kept" / labels(alpha)[-1].replace("@", ".") / "manifest.json"
    manifest.write_bytes(b"x" + manifest.read_bytes()[1:])
    unclear = "it may be another machine's"
    assert unclear in said_by(alpha, "backups")
    assert unclear in alpha.do("drill.app").event("drill.failed")["error_msg"]
    assert unclear in said_by(alpha, "restore", "app", "--to", str(shared / "4"))
    assert alpha.do("backup.app").events("snapshot.expired") == []


def made_elsewhere(kept: Path) -> None:
    """The newest snapshot is as if a machine with another id had made it."""
    newest = max(kept.glob("app.*"))
    known = json.loads((newest / "manifest.json").read_text())
    assert known["machine"]
    rewrite(newest, known | {"machine": "0123456789abcdef"})


def said_by(tree: Tree, *arguments: str) -> str:
    done = tree.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_machine_that_was_renamed(shared):
    """What it made under the old name is not counted and not deleted, which is said with whose they are; with `host` it
    goes on where it was. What goes by its new name then, a drill and a restore with --in, says that there are newer
    ones under the other; so does `check` of the drill, until that has the `host` as well. On a new machine a restore
    with --in needs no config."""
    tree = machine(shared, "alpha", JOB)
    stored(tree)
    configure(tree, shared, "", JOB)
    assert "1 of alpha" in str(tree.plan("backup.app"))
    told = stored(tree).event("backup.shared")
    assert (told["whose"], told["level"]) == ("1 of alpha", "warning")
    configure(tree, shared, "alpha", JOB)
    assert len(labels(tree)) == 1
    assert stored(tree).events("backup.shared") == []
    configure(tree, shared, "alpha", JOB + DRILL)
    assert 'backup.app makes those of "alpha"' in tree.run("check").stderr
    assert tree.do("drill.app").event("drill.shared")["whose"] == "1 of alpha"
    newest = f"(1 of alpha): maintd restore {labels(tree)[-1]} --in"
    assert newest in said_by(tree, "restore", "app", "--in", str(shared / "kept"), "--to", str(shared / "passed"))
    configure(tree, shared, "alpha", JOB + DRILL + 'host = "alpha"\n')
    assert "makes those of" not in tree.run("check").stderr
    assert tree.do("drill.app").events("drill.shared") == []
    for one in (shared / "kept").iterdir():
        if json.loads((one / "manifest.json").read_text())["host"] != "alpha":
            shutil.rmtree(one)
    (shared / "new").mkdir()
    new = Tree(shared / "new")
    assert brought(new, shared / "out", "app", "--in", str(shared / "kept")) == ["alpha.db"]


def test_two_machines_of_one_host_name(shared):
    """What another machine made before this one is its own by now, which took its place, also on a restore; what one
    makes afterwards is told at each backup, also if `host` is set: they are two."""
    if not hosts.machine():
        pytest.skip("this machine has no /etc/machine-id")
    tree = machine(shared, "alpha", JOB)
    stored(tree)
    made_elsewhere(shared / "kept")
    for _ in range(2):
        assert stored(tree).events("backup.mixed") == []
    assert brought(tree, shared / "out", "app") == ["alpha.db"]
    made_elsewhere(shared / "kept")
    told = stored(tree).event("backup.mixed")
    assert (told["host"], told["count"]) == ("alpha", 1)


@pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed (apt-get install restic)")
def test_a_repository_of_two_machines(shared):
    """What one machine forgets is its own, and a restore brings its own; without any it is told whose there are."""
    (shared / "kept").mkdir()
    (shared / "kept/password").write_text(f"{PASSWORD}\n")
    Repository(shared / "kept/repository", [])
    alpha, beta = machine(shared, "alpha", RESTIC), machine(shared, "beta", RESTIC)
    for tree in (alpha, beta, beta):
        stored(tree)
    assert len(stored(beta).events("snapshot.expired")) == 1
    assert (len(labels(alpha)), len(labels(beta))) == (1, 2)
    assert brought(alpha, shared / "1", "app") == ["alpha.db"]
    configure(alpha, shared, "gamma", RESTIC)
    refused = alpha.run("restore", "app", "--to", str(shared / "2"))
    assert refused.returncode == 1
    assert "1 of alpha, 2 of beta" in refused.stderr
