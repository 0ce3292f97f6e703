"""`maintd archive`: what was archived is found, verified, and brought back as it was."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import pytest

from maintd import inventory

from .test_archive import DAY, archived, job, succeeded
from .test_expire import needs_root
from .tree import NOBODY, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Three archived files: compressed, as it was, and with a name that is not UTF-8."""
    made = Tree(tmp_path)
    made.write_config(job(pattern="LOGS/**/*"))
    made.log("2026/a.csv", b"first\n" * 1000, age=50 * DAY).chmod(0o640)
    made.log("b.csv.gz", b"\x1f\x8bas it was", age=40 * DAY)
    made.log(os.fsdecode(b"\xffc.csv"), b"third\n", age=60 * DAY)
    succeeded(made.do())
    return made


def test_list_shows_what_is_there(tree):
    """Each file with its time, sizes, path and name in the archive; --path takes a path, a name or a pattern."""
    shown = tree.run("archive", "list")
    assert shown.returncode == 0, shown.stderr
    assert f"{tree.logs}/2026/a.csv" in shown.stdout
    assert f"→ {tree.folder}/archive/2026/a.csv.zst" in shown.stdout
    assert r"\xffc.csv" in shown.stdout
    for pattern in ("*/2026/*", "a.csv", f"{tree.logs}/2026/a.csv", "2026/a.csv.zst", "2026/a.csv"):
        (line,) = tree.run("archive", "list", "--json", "--path", pattern).stdout.splitlines()
        entry = json.loads(line)
        assert (entry["original"], entry["size"], entry["is_there"]) == (f"{tree.logs}/2026/a.csv", 6000, True)


def test_list_since_leaves_out_what_came_before(tree):
    """--since takes a duration or a time; anything else is wrong usage."""
    assert len(tree.run("archive", "list", "--json", "--since", "1h").stdout.splitlines()) == 3
    assert tree.run("archive", "list", "--json", "--since", "2999-01-01").stdout == ""
    assert tree.run("archive", "list", "--since", "yesterday").returncode == 2


@needs_root
def test_get_brings_a_file_back_as_it_was(tree):
    """Content, mode, owner and mtime are as they were, below the directory asked for; the archive is untouched."""
    (old,) = (entry for entry in inventory.read(f"{tree.folder}/archive").entries.values() if "a.csv" in entry.name)
    before = archived(tree)
    got = tree.run("archive", "get", "*.csv*", "--to", str(tree.folder / "back"))
    assert got.returncode == 0, got.stderr
    path = tree.folder / "back/2026/a.csv"
    assert path.read_bytes() == b"first\n" * 1000
    info = path.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_mtime_ns) == (0o640, 0, old.mtime_ns)
    assert (tree.folder / "back/b.csv.gz").read_bytes() == b"\x1f\x8bas it was"
    assert (tree.folder / "back" / os.fsdecode(b"\xffc.csv")).read_bytes() == b"third\n"
    assert archived(tree) == before


def test_get_overwrites_nothing_and_does_the_rest(tree):
    """A file that is there already stays as it is, and is named; the others are brought back, and it ends with 5."""
    back = tree.folder / "back"
    (back / "2026").mkdir(parents=True)
    (back / "2026/a.csv").write_bytes(b"mine")
    got = tree.run("archive", "get", "*", "--to", str(back))
    assert got.returncode == 5
    assert "a file of that name is there" in got.stderr
    assert (back / "2026/a.csv").read_bytes() == b"mine"
    assert (back / "b.csv.gz").exists()


def test_get_of_nothing_says_so(tree):
    """A pattern that names nothing ends with 3; so does nothing else."""
    got = tree.run("archive", "get", "nothing-like-that", "--to", str(tree.folder / "back"))
    assert (got.returncode, got.stdout) == (3, "")
    assert "nothing-like-that" in got.stderr


def test_what_is_damaged_is_not_brought_back(tree):
    """If the object is not what was stored, nothing gets the file's name, and the reason is said."""
    _spoil(tree.folder / "archive/2026/a.csv.zst")
    got = tree.run("archive", "get", "a.csv", "--to", str(tree.folder / "back"))
    assert got.returncode == 1
    assert [path for path in (tree.folder / "back").rglob("*") if path.is_file()] == []


def _spoil(path: Path) -> None:
    info, data = path.stat(), bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def test_verify_reads_all_and_finds_what_is_wrong(tree):
    """Whole archives end with 0; a flipped bit, a missing, a cut and an unlisted object are each named, with 3."""
    good = tree.run("archive", "verify")
    assert (good.returncode, good.stderr) == (0, "")
    assert "read 3 of 3 files" in good.stdout
    assert tree.run("archive", "verify", "--sample", "1%").stdout.count("read 1 of 3 files") == 1
    root = tree.folder / "archive"
    _spoil(root / "2026/a.csv.zst")
    (root / "b.csv.gz").unlink()
    (root / "stray").write_bytes(b"x")
    wrong = tree.run("archive", "verify")
    assert wrong.returncode == 3
    assert "a.csv.zst: it" in wrong.stdout
    assert "b.csv.gz: it is missing" in wrong.stdout
    assert "stray: it is not in the manifest" in wrong.stdout
    assert "2 wrong" in wrong.stdout


def test_a_damaged_line_is_said_and_survived(tree):
    """A torn last line of the manifest is told on stderr, and everything else is there; verify ends with 3."""
    path = tree.folder / "archive" / inventory.NAME
    path.write_bytes(path.read_bytes() + b'{"name": "torn')
    shown = tree.run("archive", "list", "--json")
    assert len(shown.stdout.splitlines()) == 3
    assert "1 damaged line" in shown.stderr
    assert tree.run("archive", "verify").returncode == 3


def test_a_manifest_cannot_lead_elsewhere(tree):
    """A line that somebody forged brings nothing back outside the directory that was asked for, and no set-id bit."""
    path = tree.folder / "archive" / inventory.NAME
    entry = json.loads(path.read_bytes().splitlines()[0])
    data = (tree.folder / "archive" / entry["name"]).read_bytes()
    (tree.folder / "forged").write_bytes(data)
    path.write_bytes(json.dumps(entry | {"name": "../forged", "mode": 0o4755}).encode() + b"\n")
    tree.run("archive", "get", "*", "--to", str(tree.folder / "back"))
    made = [str(found.relative_to(tree.folder / "back")) for found in (tree.folder / "back").rglob("*")]
    assert set(made) <= {"forged"}
    assert all(not found.stat().st_mode & 0o6000 for found in (tree.folder / "back").rglob("*"))


def test_without_an_archive_job_it_says_what_would_be_one(tree):
    """A config without archive jobs is an error with its hint, and so is one that does not load."""
    tree.write_config("")
    shown = tree.run("archive", "list")
    assert shown.returncode == 1
    assert "[archive.NAME]" in shown.stderr


def test_what_can_be_done_about_a_fault_is_said_and_done(tree):
    """With keep_originals verify says that the file is still here; what is gone or cut off the next run stores anew.

    What only its hash gives away is stored anew once it was removed; what is nowhere else is said to be so.
    """
    tree.write_config(job("keep_originals = true\n"))
    for name in ("gone", "cut", "flipped", "nowhere"):
        tree.log(f"{name}.csv", name.encode() * 1000, age=40 * DAY)
    assert tree.do().code == 0
    root = tree.folder / "archive"
    (root / "gone.csv.zst").unlink()
    (root / "cut.csv.zst").write_bytes(b"cut")
    _spoil(root / "flipped.csv.zst")
    _spoil(root / "nowhere.csv.zst")
    (tree.logs / "nowhere.csv").unlink()
    said = tree.run("archive", "verify").stdout
    for name in ("gone", "cut"):
        assert f"{tree.logs}/{name}.csv is still here: archive.old stores it anew by itself" in said
    assert f"{tree.logs}/flipped.csv is still here: remove the object, and then archive.old stores it anew" in said
    assert f"{tree.logs}/nowhere.csv is not here any more either" in said
    (root / "flipped.csv.zst").unlink()
    planned = [step["verb"] for step in tree.plan() if step["step"] == "action"]
    did = tree.do()
    assert (did.code, planned) == (0, ["disown"] * 3 + ["archive"] * 3), did
    assert {os.path.basename(event["target"]) for event in did.events("object.lost")} == {
        "gone.csv.zst",
        "cut.csv.zst",
        "flipped.csv.zst",
    }
    assert (root / "cut.csv.zst").read_bytes() == b"cut", "nothing is overwritten"
    done = tree.run("archive", "verify")
    assert "cut.csv.zst: it is not in the manifest" in done.stdout
    assert "1 wrong" in done.stdout, "the one that is nowhere else"
    assert [step for step in tree.plan() if step["step"] == "action"] == []
    assert tree.run("archive", "get", "cut.csv", "--to", str(tree.folder / "back")).returncode == 0
    assert (tree.folder / "back/cut.csv").read_bytes() == b"cut" * 1000


@needs_root
@pytest.mark.parametrize("mode", [0o1777, 0o775])
def test_in_a_shared_directory_the_archive_is_roots_alone(tmp_path, mode):
    """Below a directory that others can write, they can write neither the archive that root makes nor its manifest."""
    tree = Tree(tmp_path)
    (tree.folder / "shared").mkdir()
    (tree.folder / "shared").chmod(mode)
    tree.write_config(job(to="HERE/shared/deep/archive"))
    tree.log("a.csv", age=40 * DAY)
    succeeded(tree.do())
    root = tree.folder / "shared/deep/archive"
    modes = [path.stat().st_mode & 0o7777 for path in (root.parent, root, root / inventory.NAME)]
    assert modes == [0o755, 0o755, 0o600]
    assert "others can" not in tree.run("check").stderr


@needs_root
@pytest.mark.parametrize("shared", ["archive", f"archive/{inventory.NAME}"])
def test_no_owner_is_believed_where_others_could_have_written_it(tree, shared):
    """Where another user can write the archive or its manifest, what he lists as root's stays his; check warns."""
    root = tree.folder / "archive"
    (root / "evil.gz").write_bytes(b"his")
    os.chown(root / "evil.gz", NOBODY, NOBODY)
    line = json.loads((root / inventory.NAME).read_bytes().splitlines()[-1])
    digest = hashlib.sha256(b"his").hexdigest()
    line |= {"name": "evil.gz", "original": "/etc/evil", "uid": 0, "gid": 0, "mode": 0o440, "codec": "none", "size": 3}
    line |= {"sha256": digest, "stored_sha256": digest, "stored_bytes": 3}
    with (root / inventory.NAME).open("a") as lines:
        lines.write(json.dumps(line) + "\n")
    os.chmod(tree.folder / shared, 0o777)
    assert "chmod go-w" in tree.run("check").stderr
    got = tree.run("archive", "get", "*", "--to", str(tree.folder / "back"))
    assert got.returncode == 0, got.stderr
    assert (tree.folder / "back/evil.gz").stat().st_uid == NOBODY
    assert (tree.folder / "back/2026/a.csv").stat().st_uid == 0


@needs_root
def test_a_users_manifest_gives_no_group_that_is_not_his(tree):
    """What is brought back by another user's manifest gets the group that its object has, or one of that user's."""
    root = tree.folder / "archive"
    for path in (root, *root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    text = (root / inventory.NAME).read_text().splitlines()
    forged = [json.dumps(json.loads(line) | {"uid": NOBODY, "gid": 0, "mode": 0o660}) for line in text]
    (root / inventory.NAME).write_text("\n".join(forged) + "\n")
    for path in root.rglob("*.zst"):
        os.chown(path, NOBODY, 1)
    assert tree.run("archive", "get", "*", "--to", str(tree.folder / "back")).returncode == 0
    info = (tree.folder / "back/2026/a.csv").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (NOBODY, 1, 0o660)


def test_an_archive_that_is_gone_is_said_and_not_made_anew(tree):
    """Where its disk is not mounted, no command says that all is well, and no run begins another archive there."""
    root = tree.folder / "archive"
    root.rename(tree.folder / "unmounted")
    for arguments in (("list",), ("verify",), ("get", "*", "--to", str(tree.folder / "back"))):
        said = tree.run("archive", *arguments)
        assert (said.returncode, said.stdout) == (3, "")
        assert f"there is no archive at {root}" in said.stderr
    tree.log("d.csv", age=40 * DAY)
    did = tree.do()
    assert did.code == 1
    assert "mount its disk" in did.event("archive.failed")["advice"]
    assert (tree.names(), root.exists()) == (["d.csv"], False)
    root.mkdir()
    (root / inventory.NAME).touch()
    succeeded(tree.do())
    assert tree.names() == []


def test_an_archive_that_cannot_be_read_keeps_nobody_from_the_others(tree):
    """The rest is listed, verified and brought back, with 5; the one is named; it is 1 only where nothing could be."""
    other = job(pattern="HERE/*.csv", to="HERE/lost", name="lost")
    tree.write_config(other + job())
    (tree.folder / "lost" / inventory.NAME).mkdir(parents=True)
    back = tree.folder / "back"
    for arguments in (("list",), ("verify",), ("get", "*", "--to", str(back))):
        said = tree.run("archive", *arguments)
        assert (said.returncode, bool(said.stdout)) == (5, True), said
        assert f"the archive {tree.folder}/lost cannot be read" in said.stderr
    assert len([path for path in back.rglob("*") if path.is_file()]) == 3
    tree.write_config(other)
    for arguments in (("list",), ("verify",), ("get", "*", "--to", str(back))):
        assert tree.run("archive", *arguments).returncode == 1


def test_a_new_file_with_the_inode_of_an_archived_one_is_another(tree):
    """What has the inode alone is not the archived file: verify names the lost object, and advises what is true."""
    tree.write_config(job())
    old = tree.log("export.csv", b"the first\n", age=40 * DAY)
    assert tree.do().code == 0
    new = tree.log("export.csv", b"another one\n")
    manifest = tree.folder / "archive" / inventory.NAME
    line = json.loads(manifest.read_text().splitlines()[-1]) | {"ino": new.stat().st_ino}  # as ext4 would have it
    manifest.write_text(json.dumps(line) + "\n")
    (tree.folder / "archive/export.csv.zst").unlink()
    found = tree.run("archive", "verify")
    assert found.returncode == 3
    assert "export.csv.zst: it is missing" in found.stdout
    assert f"{old} is not here any more either" in found.stdout


@pytest.mark.parametrize("more", ['bundle = "month"\n', ""], ids=["bundle", "single"])
def test_of_several_versions_get_gives_the_newest_its_name(tree, more):
    """A corrected file lies in a second object: it comes back under the name, and what it was before with a number."""
    tree.write_config(job(f"{more}keep_originals = true\n", name="kept", to="HERE/kept"))
    for version in ("old", "corrected"):
        tree.log("p-2026-08-01.csv", f"{version}\n".encode())
        assert tree.do().code == 0
    back = tree.folder / "back"
    got = tree.run("archive", "get", "p-2026-08-01.csv", "--to", str(back))
    assert got.returncode == 0, got.stderr
    assert (back / "p-2026-08-01.csv").read_text() == "corrected\n"
    assert (back / "p-2026-08-01.csv-1").read_text() == "old\n"
    assert tree.run("archive", "get", "p-2026-08-01.csv", "--to", str(back)).returncode == 1, "nothing is overwritten"


@needs_root
def test_get_does_not_follow_another_users_link_to_roots_directory():
    """Where anybody may make links, one to a directory of root's is refused; one of root's own is followed."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve())
        tree.folder.chmod(0o755)
        tree.write_config(job())
        tree.log("a.csv", age=40 * DAY)
        assert tree.do().code == 0
        public, theirs, own = tree.folder / "public", tree.folder / "precious", tree.folder / "own"
        for made in (public, theirs, own):
            made.mkdir()
        public.chmod(0o1777)
        (public / "back").symlink_to(theirs)
        os.chown(public / "back", NOBODY, NOBODY, follow_symlinks=False)
        assert tree.run("archive", "get", "a.csv", "--to", str(public / "back")).returncode != 0
        assert list(theirs.iterdir()) == []
        (tree.folder / "link").symlink_to(own)
        assert tree.run("archive", "get", "a.csv", "--to", str(tree.folder / "link")).returncode == 0
        assert (own / "a.csv").exists()
