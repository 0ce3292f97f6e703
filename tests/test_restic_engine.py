"""Backups into a repository of restic: maintd's consistent copies, restic's snapshots."""

import base64
import json
import os
import re
import shutil  # noqa: TID251 - only to find a tool
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from maintd import restic as restic_child
from maintd import stores

from .conftest import environment
from .restic import PASSWORD, Repository
from .test_backup import at, database, rows_of, taken
from .tree import MAINTD, Tree

pytestmark = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed (apt-get install restic)"
)
JOB = """
[backup.app]
cron = "@daily"
engine = "restic"
repository = "HERE/repository"
password_file = "HERE/password"
databases = ["LOGS/*.db"]
files = ["LOGS/*.csv"]
"""


DRILL = '[drill.app]\ncron = "@weekly"\nrepository = "HERE/repository"\npassword_file = "HERE/password"\nset = "app"\n'


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), JOB)
        (tree.folder / "password").write_text(f"{PASSWORD}\n")
        yield tree


def restic(tree: Tree, *arguments: str, cwd: Path | None = None) -> str:
    line = ["restic", "-r", tree.folder / "repository", "-p", tree.folder / "password", "--no-cache", *arguments]
    return subprocess.run(line, check=True, capture_output=True, text=True, env=environment(), cwd=cwd).stdout


def initialized(tree: Tree) -> Repository:
    """As `restic init`, with a key that takes no half second each time that it is used."""
    return Repository(tree.folder / "repository", [])


def snapshots(tree: Tree) -> list[dict[str, object]]:
    return list(json.loads(restic(tree, "snapshots", "--json")))


def test_restic_stores_consistent_copies_under_their_own_paths(tree):
    """A live database, with what is only in its WAL, files and output come back by `restic restore` alone; maintd lists
    the snapshot, and nothing stays on the way. A pattern that has nothing any more is a failure, until it has."""
    restic(tree, "init")
    tree.write_config(JOB + '[backup.app.commands]\n"app.sql" = ["/bin/echo", "dump"]\n')
    path, csv = database(tree.logs / "a.db"), tree.log("p.csv", b"1\n")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO trades VALUES (1000, 1.0, 'only in the WAL')")
        writer.commit()
        stored = taken(tree).event("snapshot.stored")
    assert (stored["files"], stored["new"], stored["missing"]) == (3, 3, 0)
    (snapshot,) = snapshots(tree)
    assert snapshot["tags"] == ["maintd:app", "maintd-whole"]
    out = tree.folder / "out"
    restic(tree, "restore", "latest", "--target", str(out))
    assert len(rows_of(at(out / "maintd", path))) == 101
    assert at(out, csv).read_bytes() == b"1\n"
    assert (out / "maintd/commands/app.sql").read_text() == "dump\n"
    said = json.loads((out / "maintd/manifest.json").read_text())
    assert said["entries"][0]["database"]["rows"] == {"trades": 101}
    assert not list(out.rglob("*-wal"))
    assert os.listdir(tree.folder / "state/stores/copies") == []
    assert tree.run("backups", "app").returncode == 0
    assert taken(tree).event("snapshot.stored")["new"] == 0
    csv.unlink()
    assert "has nothing of what it had" in tree.do().event("backup.failed")["error_msg"]
    assert [one["tags"] for one in snapshots(tree)].count(["maintd:app"]) == 1
    tree.log("q.csv")
    taken(tree)


def test_a_drill_proves_a_restore(tree):
    """restic restores into a scratch directory, the databases are opened and compared; a tag and `backups` say when,
    also after a second drill within the same second. A damaged repository is a failure."""
    initialized(tree)
    tree.write_config(JOB + DRILL)
    database(tree.logs / "a.db")
    tree.log("p.csv", os.urandom(100_000))
    assert tree.do("backup.app").code == 0
    proven = tree.do("drill.app").event("restore.proven")
    assert (proven["databases"], proven["bytes"] > 100_000) == (1, True)
    (snapshot,) = snapshots(tree)
    (last,) = (tag.removeprefix("maintd-proven:") for tag in snapshot["tags"] if tag.startswith("maintd-proven:"))
    where = stores.Repository(f"{tree.folder}/repository", f"{tree.folder}/password", f"{tree.folder}/cache")
    restic_child.prove(lambda _: None, repository=where.fields(), snapshot=snapshot["id"], at=last, before=last)
    assert json.loads(tree.run("backups", "--json").stdout)["proven"]
    assert list((tree.folder / "state/stores/drills").iterdir()) == []
    flip(tree, set())
    failed = [event["msg"] for event in tree.do("drill.app").events("drill.failed")]
    assert any("could not drill the set app" in message for message in failed)


def flip(tree: Tree, but: set[Path]) -> Path:
    """Changes a byte of the largest pack of the repository that is none of those; returns it."""
    pack = max(packs(tree) - but, key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    return pack


def packs(tree: Tree) -> set[Path]:
    return {path for path in (tree.folder / "repository/data").rglob("*") if path.is_file()}


def backed_up(tree: Tree) -> None:
    did = tree.do("backup.app")
    assert did.code == 0, str(did)


def standing(tree: Tree) -> list[tuple[bool, bool]]:
    """Of each snapshot, the oldest first, whether it is verified, and whether a restore of it was proven."""
    lines = tree.run("backups", "--json").stdout.splitlines()
    return [(one["verified"], bool(one["proven"])) for one in map(json.loads, lines)]


def test_what_a_drill_finds_damaged_pushes_no_good_snapshot_out(tree):
    """A flipped byte in the newest snapshot's data: it is whole no more, `backups` says so, a new one that shares the
    data is a failure, and what was proven stays, whatever keep says; once restic stores it anew the next one is whole.
    If somebody has locked the repository both are told, the damage and that it could not be noted."""
    repository = initialized(tree)
    tree.write_config(JOB + "keep = 2\n" + DRILL)
    for number in range(2):
        there = packs(tree)
        tree.log("p.csv", os.urandom(300_000))
        backed_up(tree)
        if number == 0:
            assert tree.do("drill.app").event("repository.verified")
    pack = flip(tree, there)
    repository.lock(os.getpid())
    failed = [event["error_msg"] for event in tree.do("drill.app").events("drill.failed")]
    said = [bool(re.search("(?s)(damage|verification failed).*could not be noted", text)) for text in failed]
    assert said == [True, True], failed
    for lock in (tree.folder / "repository/locks").iterdir():
        lock.unlink()
    assert "verification failed" in tree.do("drill.app").events("drill.failed")[0]["error_msg"]
    assert standing(tree) == [(True, True), (False, False)]
    assert "its data is damaged" in tree.run("backups").stdout
    did = tree.do("backup.app")
    assert "shares with older snapshots is damaged" in did.event("backup.failed")["error_msg"]
    assert did.events("snapshot.expired") == []
    assert standing(tree) == [(True, True), (False, False), (False, False)]
    pack.unlink()
    restic(tree, "rebuild-index")
    for _ in range(2):
        backed_up(tree)
    assert standing(tree)[0] == (True, True)
    assert tree.do("drill.app").event("restore.proven")


def test_damage_in_an_older_snapshot_of_restic_is_found_too(tree):
    """All the data of the repository is read: damage that the newest snapshot does not share is noted at those that
    have it alone. With verify_all = false nobody looks."""
    initialized(tree)
    tree.write_config(JOB + DRILL + "verify_all = false\n")
    tree.log("p.csv", os.urandom(300_000))
    backed_up(tree)
    first = packs(tree)
    tree.log("p.csv", os.urandom(300_000))
    backed_up(tree)
    flip(tree, packs(tree) - first)
    assert tree.do("drill.app").code == 0
    assert standing(tree) == [(True, False), (True, True)]
    tree.write_config(JOB + DRILL)
    did = tree.do("drill.app")
    assert did.event("drill.failed")["error_msg"].startswith("of the 2 snapshots of app 1 are damaged")
    assert standing(tree) == [(False, False), (True, True)]


def test_the_retention_has_restic_forget(tree):
    """Snapshots go by maintd's rules, those of other sets stay, and the last whole one is never forgotten."""
    initialized(tree)
    tree.write_config(JOB + "keep = 1\n")
    path = database(tree.logs / "a.db", 2000, mode="DELETE")
    tree.log("p.csv", b"1\n")
    restic(tree, "backup", "--tag", "other", str(tree.config))
    taken(tree)
    path.write_bytes(b"SQLite format 3\0" + os.urandom(40_000))
    for _ in range(2):
        assert tree.do().code == 5
    tags = [one["tags"] for one in snapshots(tree)]
    assert tags == [["other"], ["maintd:app", "maintd-whole"], ["maintd:app"]]
    path.unlink()
    database(path, mode="DELETE")
    taken(tree)
    did = taken(tree)
    assert did.events("repository.pruned")
    assert [one["tags"] for one in snapshots(tree)].count(["maintd:app", "maintd-whole"]) == 2


def test_a_lock_of_a_restic_that_was_killed_holds_nothing_up(tree):
    """It is removed, as `restic unlock` does. If its pid is of another program by now, such as this one, it stays, and
    the run is a failure: restic would send that program a SIGHUP."""
    repository = initialized(tree)
    tree.log("p.csv", b"1\n")
    with subprocess.Popen(["true"]) as ended:
        pass
    repository.lock(ended.pid)
    taken(tree)
    repository.lock(os.getpid())
    assert "somebody is at work there" in tree.do().event("backup.failed")["advice"]
    assert len(list((tree.folder / "repository/locks").iterdir())) == 1


@pytest.mark.parametrize(("what", "advice"), [("no repository", "restic init"), ("wrong password", "password_file")])
def test_what_restic_refuses_is_told(tree, what, advice):
    """A repository that is not there, and a wrong password, are one failure with advice; no copy is made for them."""
    if what == "wrong password":
        initialized(tree)
        (tree.folder / "password").write_text("another\n")
    database(tree.logs / "a.db")
    did = tree.do()
    assert did.code == 1
    assert advice in did.event("backup.failed")["advice"]
    assert did.events("database.copied") == []


def test_options_of_the_other_engine_are_errors(tree):
    """What is for one engine alone is refused with the other."""
    tree.write_config(JOB + 'destination = "HERE/kept"\nrecipient = "age1abc"\n')
    said = tree.run("check").stderr
    assert "leave destination out" in said
    assert "recipient is not for restic" in said
    tree.write_config(JOB.replace('engine = "restic"\n', ""))
    assert 'are for engine = "restic"' in tree.run("check").stderr


def test_a_password_is_not_written_into_the_config(tree):
    """A URL with a password is refused, for both kinds, without being shown; a user alone is no secret."""
    drill = '[drill.app]\ncron = "@weekly"\npassword_file = "HERE/password"\nset = "app"\nrepository = "URL"\n'
    text = JOB.replace("HERE/repository", "URL") + drill
    for url in ("rest:http://bob:SECRETPW@h:8000/", "s3:https://k:SECRETPW@h/b", "sftp://bob:SECRET/PW@h//srv"):
        tree.write_config(text.replace("URL", url))
        for line in (("check",), ("plan",), ("restore", "app", "--to", f"{tree.folder}/no")):
            done = tree.run(*line)
            assert done.returncode == 1, done.stderr
            assert done.stderr.count("RESTIC_REST_PASSWORD") == 2, done.stderr
            assert "PW" not in done.stdout + done.stderr
    tree.write_config(text.replace("URL", "sftp:bob@h:/srv/restic"))
    assert "a secret" not in tree.run("check").stderr


class Asked(BaseHTTPRequestHandler):
    """Notes who asks, and has nothing."""

    def answer(self) -> None:
        self.server.asked.add(self.headers["Authorization"])  # type: ignore[attr-defined]
        self.send_error(403)

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 - so the server asks for it

    def log_message(self, *_: object) -> None:
        pass


def test_the_environment_has_the_password_of_a_rest_server(tree):
    """restic asks a server with the user and password of maintd's environment, whatever its version; they are nowhere
    in what is told of its failure."""
    database(tree.logs / "a.db")
    with HTTPServer(("127.0.0.1", 0), Asked) as server:
        server.asked = set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"rest:http://127.0.0.1:{server.server_port}/r/"
            tree.write_config(JOB.replace("HERE/repository", url))
            line = [MAINTD, "-c", tree.config, "do", "--all", "--json"]
            given = environment(RESTIC_REST_USERNAME="bob", RESTIC_REST_PASSWORD="SECRET/P@W")
            done = subprocess.run(line, check=False, capture_output=True, text=True, env=given, timeout=90)
        finally:
            server.shutdown()
    assert server.asked == {"Basic " + base64.b64encode(b"bob:SECRET/P@W").decode()}
    assert "backup.failed" in done.stdout
    assert url in done.stdout
    assert "SECRET" not in done.stdout + done.stderr
