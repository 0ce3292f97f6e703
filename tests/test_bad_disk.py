"""Disks that are full, read-only, foreign or littered: one clear failure with advice, nothing lost, and it goes on."""

import contextlib
import os
import shutil  # noqa: TID251 - only to find a tool
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .tree import NOBODY, Tree, content

ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
COMPRESS = '[compress.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1d"\n'
DAY = 86_400.0

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], None]]:
    """Mounts a tmpfs on a folder, with these options, or remounts it."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    points: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        if "remount" not in options:
            points.append(folder)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"mounting is not possible here: {done.stderr.strip()}")

    try:
        yield mount
    finally:
        for folder in points:
            subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


# Permission

powerless = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv to drop its capabilities"
)


def give_away(*paths: Path) -> None:
    for path in paths:
        os.chown(path, NOBODY, NOBODY)


@powerless
def test_what_cannot_be_looked_into_is_refused_or_put_off(tmp_path):
    """Where maintd may neither ask the kernel nor look who has a file open, it is left alone; exit code 5."""
    tree = Tree(tmp_path, ROTATE + COMPRESS)
    give_away(tree.logs, tree.log("a.log"), tree.log("b.log"), tree.log("c.csv", age=2 * DAY))
    before = tree.contents()
    warnings = tree.run("check", powerless=True).stderr
    assert f"{tree.logs}: may not be written by this user" in warnings
    rotated = f"rotate.all: {tree.logs}/a.log, {tree.logs}/b.log cannot be worked on for want of capabilities ("
    assert f"{rotated}CAP_CHOWN: give a new log its owner; CAP_DAC_OVERRIDE: " in warnings
    assert f"compress.all: {tree.logs}/c.csv cannot be worked on" in warnings
    done = tree.do(powerless=True)
    assert done.code == 5, done
    refused = done.events("rotate.refused")
    assert len(refused) == 2, done
    assert all("cannot be known" in event["reason"] and "run maintd as root" in event["advice"] for event in refused)
    assert (tree.names(), tree.contents()) == (["a.log", "b.log", "c.csv"], before)


@powerless
def test_a_directory_that_may_not_be_read_is_a_failure_and_not_silence(tmp_path):
    """A pattern whose directory is closed to maintd is a failure with its path, in plan, in do and for the daemon."""
    tree = Tree(tmp_path, ROTATE + COMPRESS)
    give_away(tree.logs, tree.log("a.log"))
    tree.logs.chmod(0o700)
    done = tree.do(powerless=True)
    assert done.code == 1, done
    failed = done.events("paths.failed")
    assert [(event["error"], event["job"]) for event in failed] == [
        ("EACCES", "rotate.all"),
        ("EACCES", "compress.all"),
    ]
    assert all(str(tree.logs) in event["msg"] for event in failed)
    assert "Permission denied" in tree.run("plan", powerless=True).stdout


@powerless
def test_a_log_of_another_user_is_not_rotated_if_the_new_one_could_not_be_theirs(tmp_path):
    """If the new log cannot get the old one's owner, the old one stays in place and no temporary is left."""
    tree = Tree(tmp_path, ROTATE + 'reopen = "none"\n')
    log = tree.log("a.log")
    give_away(log)
    inode = log.stat().st_ino
    done = tree.do(powerless=True)
    assert done.code == 1, done
    assert done.event("rotate.failed")["error"] == "EPERM"
    assert (tree.names(), log.stat().st_ino) == (["a.log"], inode)


@powerless
def test_without_any_capability_ones_own_logs_are_rotated(tmp_path):
    """A user's own logs in its own directory are rotated and compressed without any special right."""
    tree = Tree(tmp_path, ROTATE)
    tree.log("a.log")
    before = tree.contents()
    done = tree.do(powerless=True)
    assert (done.code, done.names()) == (0, ["log.rotated", "log.compressed", "job.finished"])
    assert tree.contents() == before


@powerless
def test_a_state_dir_that_cannot_be_made_is_one_message(tmp_path):
    """A state_dir that cannot be used is told in one sentence with advice, exit code 1, and nothing is rotated."""
    tree = Tree(tmp_path, ROTATE)
    tree.log("a.log")
    give_away(tmp_path)
    tmp_path.chmod(0o755)
    done = tree.run("do", "--all", powerless=True)
    assert done.returncode == 1
    message, advice = done.stderr.splitlines()
    assert message == f"maintd: cannot use state_dir {tmp_path}/state: Permission denied"
    assert "set state_dir" in advice
    assert tree.names() == ["a.log"]


@powerless
def test_many_files_that_fail_alike_are_told_in_a_few_events(tmp_path):
    """Of files that cannot be read, in whatever directories, two are told, and a third with how many more there are."""
    archive = '[archive.all]\npaths = ["LOGS/*/*.csv"]\ncron = "@daily"\nolder_than = "1d"\nto = "HERE/archive"\n'
    tree = Tree(tmp_path, COMPRESS.replace("*.csv", "*/*.txt") + archive)
    closed = [tree.log(f"{number}/{name}", age=2 * DAY) for number in range(4) for name in ("a.csv", "b.csv", "c.txt")]
    give_away(*closed)
    for path in closed:
        path.chmod(0)
    done = tree.do(powerless=True)
    for name, others in (("archive.failed", 5), ("compress.failed", 1)):
        failed = done.events(name)
        assert [event["error"] for event in failed] == ["EACCES"] * 3, done
        assert f"and {others} more" in failed[-1]["msg"]
        assert not any("more" in event["msg"] for event in failed[:-1])
    assert [event["failed"] for event in done.events("job.finished")] == [4, 8]
    assert len(tree.names()) == 12


def test_files_for_which_a_full_archive_has_no_room_are_all_counted(tmp_path, mounted):
    """On a full disk each is tried that is smaller than the one before; two failures are told, and how many more."""
    tree = Tree(
        tmp_path, '[archive.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1d"\nto = "HERE/kept"\n'
    )
    (tmp_path / "kept").mkdir()
    mounted(tmp_path / "kept", "size=64k")
    for number in range(6):
        tree.log(f"{number}.csv", os.urandom(200_000 - 10_000 * number), age=(9 - number) * DAY)
    failed = tree.do().events("archive.failed")
    assert [event["error"] for event in failed] == ["ENOSPC"] * 3
    assert "and 3 more" in failed[-1]["msg"]
    assert len(tree.names()) == 6


# Read-only, full, elsewhere


def test_a_read_only_file_system_is_a_failure_for_each_log(tmp_path, mounted):
    """On a file system that is read-only, nothing is changed and each log's failure says where to look."""
    tree = Tree(tmp_path, ROTATE + COMPRESS)
    mounted(tree.logs, "size=2m")
    tree.log("a.log")
    tree.log("c.csv", age=2 * DAY)
    mounted(tree.logs, "remount,ro")
    done = tree.do()
    assert done.code == 1, done
    failed = [done.event("rotate.failed"), done.event("compress.failed")]
    assert [event["error"] for event in failed] == ["EROFS", "EROFS"], done
    assert all("read-only" in event["advice"] for event in failed)
    assert tree.names() == ["a.log", "c.csv"]


def fill(path: Path) -> None:
    """Writes until there is no space left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_keeps_the_original_and_goes_on_when_there_is_space(tmp_path, mounted):
    """ENOSPC while compressing leaves the original and no temporary; once there is space, the next run does it."""
    tree = Tree(tmp_path, ROTATE)
    mounted(tree.logs, "size=4m")
    tree.log("a.log", os.urandom(1 << 20))
    filler = tree.logs / "filler"
    fill(filler)
    before = tree.contents()
    done = tree.do()
    assert done.code == 5, done
    assert done.event("log.rotated")
    failed = done.event("compress.failed")
    assert (failed["error"], "disk is full" in failed["advice"]) == ("ENOSPC", True)
    assert f"{tree.logs}/a.log" in failed["error_msg"]
    assert tree.temporaries() == []
    assert tree.contents() == before
    filler.unlink()
    again = tree.do()
    assert (again.code, again.names()) == (0, ["log.compressed", "job.finished"])
    assert sum(before.values()) - 1 == sum(tree.contents().values())


def test_no_inode_left_fails_before_the_log_is_touched(tmp_path, mounted):
    """Where not even the new, empty log can be made, the old one stays in its place."""
    tree = Tree(tmp_path, ROTATE)
    mounted(tree.logs, "size=2m,nr_inodes=2")
    log = tree.log("a.log")
    inode = log.stat().st_ino
    done = tree.do()
    assert done.code == 1, done
    assert done.event("rotate.failed")["error"] == "ENOSPC"
    assert (tree.names(), log.stat().st_ino) == (["a.log"], inode)


def test_an_olddir_on_another_file_system_is_refused_when_planned(tmp_path, mounted):
    """Archives never travel between file systems: plan and do say so and name the option, and the log is as it was."""
    tree = Tree(tmp_path, ROTATE + 'olddir = "HERE/other"\n')
    (tmp_path / "other").mkdir()
    mounted(tmp_path / "other", "size=1m")
    log = tree.log("a.log")
    inode = log.stat().st_ino
    (planned,) = tree.plan()
    assert "olddir lies on another file system" in planned["reason"]
    done = tree.do()
    assert done.code == 5, done
    assert "olddir on the file system of the log" in done.event("rotate.refused")["advice"]
    assert (tree.names(), log.stat().st_ino) == (["a.log"], inode)
    assert list((tmp_path / "other").iterdir()) == []


def _identity(path):
    info = path.stat()
    return info.st_mode & 0o7777, info.st_uid, info.st_gid


@pytest.mark.parametrize("olddir", ["old", "very/old/logs", "../beside/logs", "HERE/far/away"])
def test_a_missing_olddir_is_made_like_the_logs_directory(tmp_path, olddir):
    """Each missing level of an olddir is a step of the plan, and made with mode and owner of the log's directory."""
    tree = Tree(tmp_path, ROTATE + f'olddir = "{olddir}"\n')
    tree.log("a.log")
    tree.logs.chmod(0o750)
    if os.geteuid() == 0:
        os.chown(tree.logs, NOBODY, NOBODY)
    folder = Path(os.path.normpath(tree.logs / olddir.replace("HERE", str(tmp_path))))
    levels = [path for path in (*reversed(folder.parents), folder) if not path.exists()]
    steps = tree.plan()
    assert [step["target"] for step in steps if step.get("verb") == "mkdir"] == list(map(str, levels))
    assert [step.get("verb") for step in steps] == ["mkdir"] * len(levels) + ["rotate", "compress"]
    done = tree.do()
    assert done.code == 0, done
    assert [event["target"] for event in done.events("directory.made")] == list(map(str, levels))
    assert {_identity(level) for level in levels} == {_identity(tree.logs)}
    assert [path.suffix for path in folder.iterdir()] == [".zst"]
    tree.log("a.log", b"again\n")
    assert "directory.made" not in tree.do().names()


@as_root
def test_an_olddir_that_users_share_belongs_to_none_of_them(tmp_path):
    """An olddir for the logs of several owners is made like the directory it lies in: none may remove another's."""
    tree = Tree(tmp_path, '[rotate.all]\npaths = ["LOGS/*/*.log"]\ncron = "@daily"\nolddir = "HERE/far/away"\n')
    for name, owner in (("a", NOBODY), ("b", 1)):
        os.chown(tree.log(f"{name}/{name}.log").parent, owner, owner)
    tmp_path.chmod(0o711)
    assert tree.do().code == 0
    assert _identity(tmp_path / "far") == _identity(tmp_path / "far/away") == (0o711, 0, 0)


def test_without_before_no_olddir_is_made(tmp_path):
    """If `before` fails, the directories that the rotation would need are left out with it."""
    tree = Tree(tmp_path, ROTATE + 'olddir = "very/old"\nbefore = ["/bin/false"]\n')
    tree.log("a.log")
    done = tree.do()
    assert (done.code, done.events("directory.made"), tree.names()) == (1, [], ["a.log"])
    assert not (tree.logs / "very").exists()


@pytest.mark.parametrize(("olddir", "code"), [("HERE/maintd.toml", "EEXIST"), ("HERE/maintd.toml/deep/down", "EEXIST")])
def test_an_olddir_that_cannot_be_made_leaves_the_logs(tmp_path, olddir, code):
    """If olddir cannot be made, that is the one failure, and the logs that need it are left out with the reason."""
    tree = Tree(tmp_path, ROTATE + f'olddir = "{olddir}"\n')
    tree.log("a.log")
    done = tree.do()
    assert done.code == 1, done
    assert done.event("rotate.failed")["error"] == code
    assert {event["reason"] for event in done.events("action.omitted")} == {"a step that it needs was not done"}
    assert tree.names() == ["a.log"]


# What was left by others, and by runs that were cut off


def test_a_compressed_file_of_that_name_with_other_content_stays_and_so_does_the_original(tmp_path):
    """What is in the way of a compressed copy is never overwritten: EEXIST, both files as they were."""
    tree = Tree(tmp_path, ROTATE + COMPRESS)
    tree.log("a.log.20260101T000000Z", b"the original\n")
    tree.log("a.log.20260101T000000Z.zst", b"not a zstd file")
    tree.log("c.csv", b"the data\n", age=2 * DAY)
    tree.log("c.csv.zst", b"")
    before = tree.contents()
    done = tree.do()
    assert done.code == 1, done
    failed = done.events("compress.failed")
    assert [event["error"] for event in failed] == ["EEXIST", "EEXIST"]
    assert all("left alone" in event["advice"] for event in failed)
    assert tree.contents() == before
    assert (tree.logs / "c.csv.zst").stat().st_size == 0


@pytest.mark.parametrize(("codec", "suffix"), [("zstd", ".zst"), ("gzip", ".gz")])
def test_a_copy_that_was_finished_before_a_crash_is_taken_over(tmp_path, codec, suffix):
    """A run that died between publishing the copy and removing the original is completed, not done again."""
    tree = Tree(tmp_path, ROTATE + f'compress = "{codec}"\n')
    original = tree.log("a.log", b"x" * 100_000)
    assert tree.do().code == 0
    (copy,) = tree.logs.glob(f"a.log.*{suffix}")
    original = copy.with_suffix("")
    original.write_bytes(content(copy))
    inode = copy.stat().st_ino
    done = tree.do()
    assert (done.code, done.names()) == (0, ["log.compressed", "job.finished"])
    assert (original.exists(), copy.stat().st_ino) == (False, inode)


def test_temporaries_of_runs_that_were_cut_off_are_cleaned_and_those_of_others_stay(tmp_path):
    """Each kind of leftover is removed or completed, its log is whole, and what no pattern names is not touched."""
    tree = Tree(tmp_path, ROTATE + COMPRESS)
    tree.log("live.log", b"live\n")
    tree.log("live.log.maintd-tmp", b"")
    tree.log("half.log", b"")
    tree.log("half.log.20260101T000000Z", b"whole\n")
    tree.log("half.log.20260101T000000Z.zst.maintd-tmp", b"hal")
    tree.log("cut.log.20260101T000000Z.zst", b"")
    tree.log("cut.log.maintd-tmp", b"")
    tree.log("c.csv", b"data\n", age=2 * DAY)
    tree.log("c.csv.zst.maintd-tmp", b"da")
    tree.log("stranger.maintd-tmp", b"not ours")
    before = tree.contents()
    done = tree.do()
    assert done.code == 0, done
    removed = {os.path.basename(event["target"]) for event in done.events("temporary.removed")}
    assert removed == {
        "live.log.maintd-tmp",
        "half.log.20260101T000000Z.zst.maintd-tmp",
        "c.csv.zst.maintd-tmp",
    }
    assert done.event("log.created")["target"] == str(tree.logs / "cut.log")
    assert tree.temporaries() == ["stranger.maintd-tmp"]
    assert {"cut.log", "c.csv.zst", "half.log.20260101T000000Z.zst"} <= set(tree.names())
    assert tree.contents() == before


# Copies


def test_a_sparse_log_of_5_gb_is_compressed_in_seconds_and_takes_no_space():
    """A log of 5 GB that is nearly all hole is rotated and compressed in seconds, and the disk hardly notices."""
    memory = Path("/dev/shm")  # where reading a hole fills no page cache
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        tree = Tree(Path(folder), ROTATE)
        log = tree.log("a.log", b"first line\n")
        with log.open("r+b") as file:
            file.seek(5 * 10**9)
            file.write(b"last line\n")
        size = log.stat().st_size
        done = tree.do()  # which has a time limit
        assert done.code == 0, done
        compressed = done.event("log.compressed")
        assert (compressed["in_bytes"], compressed["out_bytes"] < 2 << 20) == (size, True)
        assert sum(path.stat().st_blocks * 512 for path in tree.logs.iterdir()) < 2 << 20


@pytest.mark.parametrize(("codec", "tool"), [("zstd", "zstd"), ("gzip", "gzip")])
def test_an_archive_is_read_by_everybodys_tool_and_keeps_what_the_log_was(tmp_path, codec, tool):
    """Compression keeps mode, owner, mtime and extended attributes, and the standard tool reads the archive back."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    tree = Tree(tmp_path, ROTATE + f'compress = "{codec}"\n')
    lines = b"".join(b"line %d\n" % number for number in range(200_000))
    text = lines + bytes(20 << 20) + lines
    log = tree.log("a.log", text, age=1000)
    log.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(log, 1234, 4321)
    try:
        os.setxattr(log, "user.origin", b"test")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    before = log.stat()
    assert tree.do().code == 0
    (archive,) = (path for path in tree.logs.iterdir() if path != log)
    after, fresh = archive.stat(), log.stat()
    assert subprocess.run([tool, "-dc", archive], check=True, capture_output=True).stdout == text
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_mtime_ns == before.st_mtime_ns
    assert os.getxattr(archive, "user.origin") == b"test"
    assert (fresh.st_mode, fresh.st_uid, fresh.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@as_root
def test_the_new_log_has_the_configured_mode_owner_and_group(tmp_path):
    """mode, owner and group of the new log can be set, also as names; the archive keeps those of the old one."""
    tree = Tree(tmp_path, ROTATE + 'mode = "0604"\nowner = "nobody"\ngroup = 4321\ncompress = "none"\n')
    log = tree.log("a.log")
    assert tree.do().code == 0
    fresh = log.stat()
    assert (fresh.st_mode & 0o7777, fresh.st_uid, fresh.st_gid) == (0o604, NOBODY, 4321)
    (archive,) = (path for path in tree.logs.iterdir() if path != log)
    assert (archive.stat().st_mode & 0o7777, archive.stat().st_uid) == (0o644, 0)


def test_without_create_the_writer_makes_the_new_log(tmp_path):
    """create = false leaves the log's name free."""
    tree = Tree(tmp_path, ROTATE + 'create = false\ncompress = "none"\n')
    log = tree.log("a.log")
    assert tree.do().code == 0
    assert (log.exists(), len(tree.names())) == (False, 1)
