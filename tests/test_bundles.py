"""Bundles of the kind `archive`: one tar.zst for a day or a month, whole, listed, and read as any other archive."""

import json
import os
import resource
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintd import inventory
from maintd.bundles import period_of
from maintd.tarring import INDEX
from maintd.units import format_size

from .conftest import environment
from .test_archive import archived, job, lines, succeeded
from .test_expire import needs_root
from .tree import MAINTD, NOBODY, Tree

MONTH = 'bundle = "month"\nbase = "LOGS"\n'


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Prices of two months that are long over, in two directories, with a name that is not UTF-8."""
    made = Tree(tmp_path)
    made.write_config(job(MONTH, pattern="LOGS/**/*.csv"))
    for name, content in FILES.items():
        made.log(name, content).chmod(0o640)
    return made


FILES = {
    "eur/2026-02-03.csv": b"a price\n" * 200_000,
    "eur/2026-02-04.csv": b"",
    os.fsdecode(b"btc/\xff-2026-02-28.csv"): os.urandom(70_000),
    "eur/2026-03-01.csv": b"march\n",
}


def test_files_of_a_month_become_one_tar_that_tar_reads(tree, tmp_path):
    """Each month is one tar.zst; tar and zstd unpack it with paths, modes and times; an index is its last member."""
    did = succeeded(tree.do())
    assert tree.names() == []
    assert archived(tree) == ["2026-02.tar.zst", "2026-03.tar.zst"]
    assert sorted(event["files"] for event in did.events("bundle.stored")) == [1, 3]
    assert len(did.events("file.archived")) == 4
    out = tmp_path / "out"
    out.mkdir()
    for name in archived(tree):
        subprocess.run(["tar", "--zstd", "-xf", tree.folder / "archive" / name, "-C", out], check=True)
    index = [json.loads(line) for line in (out / INDEX).read_bytes().splitlines()]
    assert [entry["member"] for entry in index] == ["eur/2026-03-01.csv"]
    (out / INDEX).unlink()
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == FILES
    assert (out / "eur/2026-02-03.csv").stat().st_mode & 0o777 == 0o640


def test_the_plan_names_the_bundle_and_its_files(tree):
    """plan shows each bundle with the files that go into it, and do makes exactly those."""
    steps = {step["target"]: step["detail"] for step in tree.plan() if step.get("verb") == "bundle"}
    assert [os.path.basename(path) for path in steps] == ["2026-02.tar.zst", "2026-03.tar.zst"]
    assert steps[f"{tree.folder}/archive/2026-02.tar.zst"].startswith("3 files: ")
    did = succeeded(tree.do())
    assert {event["target"] for event in did.events("bundle.stored")} == set(steps)


def test_list_get_and_verify_know_what_is_in_a_bundle(tree):
    """A file of a bundle is listed, found, brought back as it was and verified like any other; damage is named."""
    before = {name: (tree.logs / name).stat().st_mtime_ns for name in FILES}
    succeeded(tree.do())
    listed = [json.loads(line) for line in tree.run("archive", "list", "--json").stdout.splitlines()]
    assert len(listed) == 4
    assert {entry["name"] for entry in listed} == {"2026-02.tar.zst", "2026-03.tar.zst"}
    assert tree.run("archive", "get", "*.csv", "--to", str(tree.folder / "back")).returncode == 0
    for name, content in FILES.items():
        path = tree.folder / "back" / name
        assert path.read_bytes() == content
        assert (path.stat().st_mode & 0o777, path.stat().st_mtime_ns) == (0o640, before[name])
    assert tree.run("archive", "verify").returncode == 0
    path = tree.folder / "archive/2026-02.tar.zst"
    data = bytearray(path.read_bytes())
    data[-40_000] ^= 1
    path.write_bytes(data)
    verified = tree.run("archive", "verify")
    assert verified.returncode == 3
    assert "2026-02.tar.zst" in verified.stdout


def test_damage_in_a_bundle_is_that_of_the_files_it_has_hit(tree):
    """A flipped byte condemns one file of a bundle; the bundle is named once, and its bytes are counted once."""
    succeeded(tree.do())
    path = tree.folder / "archive/2026-02.tar.zst"
    bundles = [path, path.with_name("2026-03.tar.zst")]
    stored = format_size(sum(one.stat().st_size for one in bundles))
    assert f"read 4 of 4 files, {stored}: all as they were" in tree.run("archive", "verify").stdout
    data = bytearray(path.read_bytes())
    data[-40_000] ^= 1
    path.write_bytes(data)
    said = tree.run("archive", "verify").stdout
    assert said.count("2026-02.tar.zst: it is not what was stored") == said.count("2026-02.tar.zst") == 1
    assert "of 3 files in it 2 can be brought back whole" in said
    assert f"read 4 of 4 files, {stored}: 1 wrong" in said
    assert tree.run("archive", "get", "*.csv", "--to", str(tree.folder / "back")).returncode == 5
    assert len([one for one in (tree.folder / "back").rglob("*") if one.is_file()]) == 3


def test_a_month_waits_until_it_is_over_for_long_enough(tree):
    """Files of a month that is not older than older_than as a whole stay, which a person who asks is told."""
    now = datetime.now(UTC)
    first = now.replace(day=1) - timedelta(days=1)  # of last month
    tree.log(f"eur/{first.replace(day=1):%Y-%m-%d}.csv", b"young")
    tree.write_config(job(MONTH, pattern="LOGS/**/*.csv").replace('"30d"', f'"{now.day + 2}d"'))
    (left,) = (step for step in tree.plan() if step["step"] == "finding")
    assert "its month is to be over for" in left["reason"]
    succeeded(tree.do())
    assert tree.names() == [f"eur/{first.replace(day=1):%Y-%m-%d}.csv"]


def test_what_comes_late_gets_a_bundle_of_its_own(tree):
    """A bundle is never changed: a file of the same month that comes later goes into the next number."""
    succeeded(tree.do())
    before = (tree.folder / "archive/2026-02.tar.zst").read_bytes()
    tree.log("eur/2026-02-09.csv", b"late")
    succeeded(tree.do())
    assert archived(tree) == ["2026-02-1.tar.zst", "2026-02.tar.zst", "2026-03.tar.zst"]
    assert (tree.folder / "archive/2026-02.tar.zst").read_bytes() == before
    assert tree.run("archive", "verify").returncode == 0


def test_a_file_that_is_open_stays_and_the_others_go(tree):
    """What a process has open is left out of the bundle, and put away by a later run, whole."""
    held = tree.logs / "eur/2026-02-03.csv"
    with held.open("rb"):
        did = tree.do()
    assert did.code == 5
    assert tree.names() == ["eur/2026-02-03.csv"]
    (event,) = (event for event in did.events("bundle.stored") if event["left"])
    assert (event["files"], event["left"]) == (2, 1)
    assert tree.run("archive", "verify").returncode == 0
    succeeded(tree.do())
    assert archived(tree) == ["2026-02-1.tar.zst", "2026-02.tar.zst", "2026-03.tar.zst"]


def test_what_an_interrupted_run_had_listed_is_completed(tree):
    """With the bundle there and some of its files still where they were, these are compared, and go."""
    succeeded(tree.do())
    (entry,) = (one for one in lines(tree) if one["member"].endswith("02-03.csv"))
    back = tree.log("eur/2026-02-03.csv", FILES["eur/2026-02-03.csv"])
    os.utime(back, ns=(entry["mtime_ns"],) * 2)
    succeeded(tree.do())
    assert tree.names() == []
    assert archived(tree) == ["2026-02.tar.zst", "2026-03.tar.zst"]


def test_lines_of_a_bundle_that_was_never_made_do_not_count(tree):
    """Killed after the lines and before the bundle had its name, the next run makes it, with what there is by then."""
    succeeded(tree.do())
    entries = lines(tree)
    for one in entries:
        os.utime(tree.log(os.fsdecode(one["member"]), FILES[one["member"]]), ns=(one["mtime_ns"],) * 2)
    for name in archived(tree):
        (tree.folder / "archive" / name).unlink()
    assert tree.run("archive", "list", "--json").stdout == ""
    succeeded(tree.do())
    assert archived(tree) == ["2026-02.tar.zst", "2026-03.tar.zst"]
    assert tree.run("archive", "verify").returncode == 0
    assert len(inventory.read(f"{tree.folder}/archive").entries) == 4


def test_originals_can_stay(tree):
    """With keep_originals a bundle is made once, and again only of what has changed."""
    tree.write_config(job(MONTH + "keep_originals = true\n", pattern="LOGS/**/*.csv"))
    succeeded(tree.do())
    assert len(tree.names()) == 4
    assert [step for step in tree.plan() if step["step"] == "action"] == []


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_bundle_that_is_lost_is_made_anew_of_what_is_still_here(tree, is_cut):
    """With keep_originals a bundle that is gone or cut off is made anew; what was nowhere else is said by verify."""
    tree.write_config(job(MONTH + "keep_originals = true\n", pattern="LOGS/**/*.csv"))
    succeeded(tree.do())
    (tree.logs / "eur/2026-02-04.csv").unlink()
    bundle = tree.folder / "archive/2026-02.tar.zst"
    bundle.write_bytes(b"cut") if is_cut else bundle.unlink()
    did = succeeded(tree.do())
    assert did.event("object.lost")["target"] == str(bundle)
    assert did.event("bundle.stored")["files"] == 2
    assert set(archived(tree)) - {"2026-02.tar.zst"} == {"2026-02-1.tar.zst", "2026-03.tar.zst"}
    said = tree.run("archive", "verify").stdout
    assert "1 wrong" in said
    assert "eur/2026-02-04.csv is not here any more either" in said
    assert [step for step in tree.plan() if step["step"] == "action"] == []


def test_a_bundle_is_zstd(tree):
    """Another codec beside bundle is refused."""
    tree.write_config(job(MONTH + 'compress = "gzip"\n'))
    checked = tree.run("check")
    assert checked.returncode == 1
    assert "a bundle is a tar.zst" in checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("at", "day", "month"),
    [
        ("2026-03-01T00:00:00", "2026-02-28", "2026-02"),
        ("2026-03-01T00:00:01", "2026-03-01", "2026-03"),
        ("2026-12-31T12:00:00", "2026-12-31", "2026-12"),
    ],
)
def test_a_time_belongs_to_a_day_and_a_month(at, day, month):
    """A midnight is the end of the day before it: dates in names are the end of their day."""
    time = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert (period_of(time, "day", UTC)[0], period_of(time, "month", UTC)[0]) == (day, month)
    assert all(
        end > time - timedelta(seconds=1) for _, end in (period_of(time, "day", UTC), period_of(time, "month", UTC))
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="chattr(1) needs root")
def test_what_cannot_be_removed_is_not_put_away_twice(tree):
    """Files that cannot be removed once they are in their bundle stay listed there; the next run only removes them."""
    fixed = tree.logs / "eur"
    if subprocess.run(["chattr", "+i", fixed], check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no chattr +i")
    try:
        did = tree.do()
        assert did.code == 5
        failed = [event["error_msg"] for event in did.events("archive.failed")]
        assert len(failed) == 2, "one for each bundle of which files are left"
        assert all("Operation not permitted" in said for said in failed)
    finally:
        subprocess.run(["chattr", "-i", fixed], check=True)
    assert archived(tree) == ["2026-02.tar.zst", "2026-03.tar.zst"]
    assert len(tree.names()) == 3
    succeeded(tree.do())
    assert tree.names() == []
    assert archived(tree) == ["2026-02.tar.zst", "2026-03.tar.zst"]
    assert tree.run("archive", "verify").returncode == 0


@needs_root
def test_a_file_that_cannot_be_read_keeps_no_other_of_its_bundle_back(tree):
    """It stays and is told of; the others of its month are put away."""
    unreadable = tree.logs / "eur/2026-02-04.csv"
    os.chown(unreadable, NOBODY, NOBODY)
    unreadable.chmod(0)
    did = tree.do(powerless=True)
    assert did.code == 5, did
    assert tree.names() == ["eur/2026-02-04.csv"]
    assert archived(tree) == ["2026-02.tar.zst", "2026-03.tar.zst"]
    (event,) = did.events("archive.failed")
    assert "it cannot be read: Permission denied" in event["error_msg"]
    assert [event["event"] for event in tree.do(powerless=True).events() if "failed" in event["event"]] == [
        "archive.failed"
    ]


@needs_root
@pytest.mark.parametrize("most", [None, 128], ids=["raised", "split"])
def test_a_month_of_more_directories_than_a_process_may_open_is_put_away(tree, most):
    """The limit of open files is raised as far as it may be; of more directories than that several bundles are made."""
    for number in range(150):
        path = tree.log(f"s{number}/2026-05-01.csv", f"{number}\n".encode())
        os.chown(path, NOBODY, NOBODY)
        os.chown(path.parent, NOBODY, NOBODY)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for name in ("do", "archive.old"), ("archive", "get", "*/s*/*", "--to", str(tree.folder / "back")):
        done = subprocess.run(
            [MAINTD, "-c", tree.config, *name],
            check=False,
            capture_output=True,
            text=True,
            env=environment(),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, most or hard)),
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert tree.names() == []
    more = ["2026-05-1.tar.zst", "2026-05-2.tar.zst"] if most else []
    assert [name for name in archived(tree) if "05" in name] == [*more, "2026-05.tar.zst"]
    back = {str(path.relative_to(tree.folder / "back")) for path in (tree.folder / "back").rglob("*.csv")}
    assert back == {f"s{number}/2026-05-01.csv" for number in range(150)}
