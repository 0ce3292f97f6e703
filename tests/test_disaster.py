"""The walkthrough of docs/backups.md, tried: a new machine, and nothing but the snapshots and the key."""

import contextlib
import json
import re
import shutil  # noqa: TID251 - to carry snapshots to another machine
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import environment
from .test_backup import JOB, at, database, rows_of, snapshots, taken
from .test_restore import refused, restored
from .tree import ROOT, Tree

EXTRAS = ROOT / ".venv-extras/bin/maintd"
PAGE = ROOT / "docs/backups.md"


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve(), JOB)


def test_without_maintd(tree):
    """The commands of the page, run as they stand there, bring every file back, from two snapshots' packs."""
    path, csv = database(tree.logs / "a.db"), tree.log("p.csv", b"first\n")
    taken(tree)
    csv.write_bytes(b"second\n")
    taken(tree)
    snapshot = snapshots(tree)[-1]
    assert len(list(snapshot.glob("*.tar.zst"))) == 2
    (script,) = re.findall(r"```\n([^`]*sha256sum -c SHA256SUMS[^`]*)```", PAGE.read_text())
    script = re.sub(r"/mnt/usb/maintd/app\.\w+", str(snapshot), script).replace("/srv/restored", f"{tree.folder}/out")
    subprocess.run(["bash", "-euc", script], check=True, stdout=subprocess.DEVNULL)
    assert len(rows_of(at(tree.folder / "out", path))) == 100
    assert at(tree.folder / "out", csv).read_bytes() == b"second\n"


def key(folder: Path) -> str:
    """Makes a pair of keys; returns the public one, and leaves the secret one in `key.txt`."""
    code = "import pyrage; key = pyrage.x25519.Identity.generate(); print(key.to_public()); print(key)"
    done = subprocess.run([EXTRAS.with_name("python"), "-c", code], check=True, capture_output=True, text=True)
    public, secret = done.stdout.split()
    (folder / "key.txt").write_text(f"# a comment\n{secret}\n")
    return public


def _extras(tree: Tree, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [EXTRAS, "-c", tree.config, *arguments], check=False, capture_output=True, text=True, env=environment()
    )


def test_encrypted_snapshots_need_thekey(tree):
    """To a public key: nothing of the files can be read without the secret one, unchanged ones are linked."""
    path = database(tree.logs / "a.db")
    secret = b"a secret word " * 1000
    tree.log("p.csv", secret)
    drill = '[drill.app]\ncron = "@weekly"\ndestination = "HERE/kept"\nset = "app"\nidentity_file = "HERE/key.txt"\n'
    tree.write_config(JOB + f'recipient = "{key(tree.folder)}"\n' + drill)
    for _ in range(2):
        done = _extras(tree, "do", "backup.app")
        assert done.returncode == 0, done.stdout + done.stderr
    first, second = snapshots(tree)
    (pack,) = first.glob("*.age")
    assert (second / pack.name).stat().st_ino == pack.stat().st_ino
    assert b"secret word" not in b"".join(one.read_bytes() for one in first.iterdir())
    assert _extras(tree, "do", "drill.app").returncode == 0
    shutil.copytree(tree.folder / "kept", tree.folder / "usb")
    at_usb = ("restore", "app", "--in", f"{tree.folder}/usb", "--to", f"{tree.folder}/out")
    assert "--identity FILE" in _extras(tree, *at_usb).stderr
    other = tree.folder / "other"
    other.mkdir()
    key(other)
    assert "cannot be decrypted" in _extras(tree, *at_usb, "--identity", f"{other}/key.txt").stderr
    assert not (tree.folder / "out").exists()
    done = _extras(tree, *at_usb, "--identity", f"{tree.folder}/key.txt")
    assert done.returncode == 0, done.stderr
    assert len(rows_of(at(tree.folder / "out", path))) == 100


def test_another_recipient_gets_everything_anew(tree):
    """After `recipient` was changed nothing is linked that the new key cannot open: each snapshot opens with the one
    key that it was made for, and a file with several keys opens all; also where an older maintd did not write down
    to whom it encrypted."""
    path = database(tree.logs / "a.db")
    keys = tree.folder / "keys.txt"
    for n, name in enumerate(("old", "new")):
        (tree.folder / name).mkdir()
        tree.write_config(JOB + f'recipient = "{key(tree.folder / name)}"\n')
        for _ in range(2):
            assert _extras(tree, "do", "backup.app").returncode == 0
        if n == 0:
            manifest = snapshots(tree)[-1] / "manifest.json"
            known = json.loads(manifest.read_text())
            assert known.pop("recipient").startswith("age1")
            manifest.write_text(json.dumps(known | {"format": 1}))
        keys.write_text("".join(one.read_text() for one in sorted(tree.folder.glob("*/key.txt"))))
    stamps = [one.name.partition(".")[2] for one in snapshots(tree)]
    packs = [{pack.name for pack in one.glob("*.age")} for one in snapshots(tree)]
    assert packs[1] & packs[2] == set()
    assert packs[2] == packs[3]
    for n, (stamp, file) in enumerate(
        [(stamps[0], "old/key.txt"), (stamps[2], "new/key.txt"), (stamps[0], "keys.txt"), (stamps[3], "keys.txt")]
    ):
        to, identity = f"{tree.folder}/out{n}", f"{tree.folder}/{file}"
        done = _extras(tree, "restore", f"app@{stamp}", "--to", to, "--identity", identity)
        assert done.returncode == 0, done.stderr
        assert len(rows_of(at(Path(to), path))) == 100


def test_without_the_extra_it_is_named(tree):
    """In an environment without the extra, encryption is a failure that names it."""
    tree.log("p.csv")
    tree.write_config(JOB + f'recipient = "{key(tree.folder)}"\n')
    did = tree.do()
    assert did.code == 1
    assert "maintd[age]" in did.event("backup.failed")["advice"]
    assert snapshots(tree) == []


def test_odd_databases_come_back_as_they_were(tree):
    """FTS5, generated columns, WITHOUT ROWID, foreign keys, UTF-16, another page size, auto_vacuum, a read-only one."""
    path = tree.logs / "odd.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.executescript("""
            PRAGMA page_size = 1024; PRAGMA encoding = 'UTF-16le'; PRAGMA auto_vacuum = 2;
            PRAGMA application_id = 77; PRAGMA user_version = 12;
            CREATE VIRTUAL TABLE notes USING fts5(body);
            INSERT INTO notes VALUES ('one word'), ('another word');
            CREATE TABLE k (a TEXT, b INT, c AS (b * 2) STORED, PRIMARY KEY (a, b)) WITHOUT ROWID;
            INSERT INTO k VALUES ('x', 1), ('y', 2);
            CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p);
            INSERT INTO p VALUES (1); INSERT INTO c VALUES (1);
            CREATE INDEX part ON k (b) WHERE b > 1;
        """)
    path.chmod(0o444)
    taken(tree)
    restored(tree, "app", "--to", f"{tree.folder}/out")
    queries = ("SELECT body FROM notes WHERE notes MATCH 'word'", "SELECT * FROM k", "PRAGMA encoding")
    queries += ("PRAGMA page_size", "PRAGMA auto_vacuum", "PRAGMA application_id", "PRAGMA user_version")
    with (
        contextlib.closing(sqlite3.connect(path)) as old,
        contextlib.closing(sqlite3.connect(at(tree.folder / "out", path))) as new,
    ):
        for query in queries:
            assert new.execute(query).fetchall() == old.execute(query).fetchall(), query
    assert at(tree.folder / "out", path).stat().st_mode & 0o777 == 0o444


HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
database.execute("ROLLBACK")
"""


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_locks_of_other_processes_survive(tree, mode):
    """A write lock that a service holds is still held after each of maintd's operations on the database."""
    path = database(tree.logs / "a.db", mode=mode)
    tree.write_config(JOB + '[sqlite.all]\ncron = "@daily"\npaths = ["LOGS/*.db"]\noptimize = false\n')
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        for arguments in (["plan"], ["do", "backup.app"], ["do", "sqlite.all"], ["check"]):
            done = tree.run(*arguments)
            assert done.returncode == 0, done.stdout + done.stderr
            assert _is_locked(path), arguments
        assert "is open in" in refused(tree, "app", "--in-place")
        assert _is_locked(path)
        holder.communicate(b"")
    assert not _is_locked(path)


def _is_locked(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False
