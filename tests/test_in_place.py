"""Logs whose writers cannot be told to reopen them: rotated where they lie, and every line is there once and whole."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintd import descriptors, freeze, holders
from maintd.errors import NotYet

from .conftest import PROGRAM, until
from .numbered import writing
from .test_holders import THREAD, WAIT
from .tree import Did, Tree

JOB = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder on a file system that has no collapse."""
    place = Path(f"/dev/shm/maintd-{os.getpid()}")
    try:
        place.mkdir()
    except OSError as error:
        pytest.skip(f"no tmpfs to write to: {error}")
    yield place
    subprocess.run(["rm", "-r", place], check=True)


def rotated(done: Did) -> dict[str, object]:
    assert done.code == 0, done
    return done.event("log.rotated")


@pytest.mark.parametrize("codec", ["zstd", "gzip", "none"])
def test_an_appending_writer_goes_on_in_the_same_file(tmp_path, codec):
    """Its log is archived and collapsed, again and again, and it keeps the inode, without a line lost or doubled."""
    tree = Tree(tmp_path, JOB + f'compress = "{codec}"\n')
    log = tree.logs / "a.log"
    with writing(log) as writer:
        for count in (5000, 1, 300, 20_000):
            writer.write(count)
            inode, size = log.stat().st_ino, log.stat().st_size
            done = tree.do()
            assert done.code == 0, done
            if size > 3 * 4096:
                event = rotated(done)
                assert event["reason"].endswith("appends to it: archived, then collapsed in place")
                assert log.stat().st_size < 2 * 4096
            assert log.stat().st_ino == inode
            writer.check()
    assert len(list(tree.logs.glob("a.log.2*"))) == 3
    assert tree.temporaries() == []


def test_a_rotation_in_its_last_step_is_no_writer(tmp_path):
    """What maintd itself still holds open is not taken for a service that writes without appending: beside a writer the
    log is planned as always, without one it is left alone for the moment."""
    tree = Tree(tmp_path, JOB)
    log = tree.logs / "a.log"
    at_work = [PROGRAM.with_name("python"), "-P", "-m", "maintd.child", str(os.getpid()), ""]
    with writing(log) as writer:
        writer.write(2000)
        descriptor = os.open(log, os.O_RDWR)
        child = subprocess.Popen(at_work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[descriptor])
        os.close(descriptor)
        try:
            until(lambda: holders.program(child.pid) == "maintd.child", "it is what it is called")
            (step,) = [step for step in tree.plan() if step.get("verb") == "rotate"]
            assert step["reason"].endswith(
                f"(pid {writer.process.pid}) appends to it: archived, then collapsed in place"
            )
            assert [event["event"] for event in tree.do().events() if "reason" in event] == ["action.waiting"]
            writer.process.kill()
            writer.process.wait()
            (step,) = tree.plan()
            assert "not rotated: maintd itself is at work on it" in step["reason"]
        finally:
            child.kill()
            child.communicate()


def test_a_thread_that_does_not_append_by_itself_is_not_collapsed_over(tmp_path):
    """Beside one that appends, a thread that has the log open for itself alone, which nobody can make append."""
    tree = Tree(tmp_path, JOB + "adopt = true\npause_writers = true\n")
    with writing(tree.logs / "a.log") as writer:
        writer.write(2000)
        line = [sys.executable, "-IS", "-c", THREAD + WAIT, tree.logs / "a.log", str(os.O_WRONLY)]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            refused = tree.do().event("rotate.refused")
            assert refused["reason"].startswith("a thread of ")
            assert f"(pid {process.pid}) writes it without appending" in refused["reason"]
            process.kill()
        rotated(tree.do())
        writer.check()


def test_the_plan_says_why_and_the_archive_is_the_planned_one(tmp_path):
    """`plan` names the writer, the way and the size, and changes nothing; `do` makes the archive of that kind."""
    tree = Tree(tmp_path, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(2000)
        (step,) = [step for step in tree.plan() if step.get("verb") == "rotate"]
        assert step["detail"].endswith(".zst")
        assert f"(pid {writer.process.pid}) appends to it" in step["reason"]
        assert tree.names() == ["a.log"]
        assert str(rotated(tree.do())["rotated_to"]).endswith(".zst")


def test_a_log_too_small_for_it_is_left_alone_without_a_failure(tmp_path):
    """Less than two blocks cannot be collapsed: the plan says so, and nothing fails or is tried in vain."""
    tree = Tree(tmp_path, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(10)
        assert [step["reason"] for step in tree.plan()] == ["not rotated: it is too small to be rotated in place"]
        done = tree.do()
        assert done.code == 0, done
        assert tree.names() == ["a.log"]


def test_a_log_without_a_whole_line_stays_as_it_is(tmp_path):
    """What has no end of a line cannot be archived up to one: it is put off and said, and no byte is touched."""
    tree = Tree(tmp_path, JOB)
    log = tree.log("a.log", b"x" * 50_000)
    with writing(log) as writer:
        writer.write(0)
        done = tree.do()
        assert done.code == 5, done
        assert "whole lines" in done.event("action.waiting")["msg"]
        assert (tree.names(), log.read_bytes()) == (["a.log"], b"x" * 50_000)


def test_attributes_go_to_the_archive(tmp_path):
    """An archive made in place has the log's mode, and nobody could read it before it had."""
    tree = Tree(tmp_path, JOB)
    log = tree.log("a.log", b"")
    log.chmod(0o640)
    with writing(log) as writer:
        writer.write(1000)
        archive = Path(str(rotated(tree.do())["rotated_to"]))
        assert archive.stat().st_mode & 0o777 == 0o640


def test_a_writer_that_does_not_append_is_only_made_to_if_the_job_says_so(tmp_path):
    """Without adopt its log is refused with that advice; with it, its descriptor appends, and no NUL appears."""
    tree = Tree(tmp_path, JOB)
    log = tree.logs / "a.log"
    with writing(log, flags=0) as writer:
        writer.write(2000)
        done = tree.do()
        assert "adopt = true" in done.event("rotate.refused")["advice"]
        assert tree.names() == ["a.log"]
        tree.write_config(JOB + "adopt = true\n")
        for _ in range(3):
            rotated(tree.do())
            writer.write(2000)
            writer.check()
    assert b"\0" not in log.read_bytes()


def test_a_writer_in_the_middle_of_its_file_is_left_alone(tmp_path):
    """Who overwrites what is there would write elsewhere if it appended: refused, also with adopt."""
    tree = Tree(tmp_path, JOB + "adopt = true\n")
    before = b"a whole line\n" * 2000
    log = tree.log("a.log", before)
    with writing(log, flags=0) as writer:
        writer.write(10)
        done = tree.do()
        assert done.code == 1, done
        assert "in the middle" in done.event("rotate.failed")["error_msg"]
        assert tree.names() == ["a.log"]
        assert log.read_bytes()[-len(before) // 2 :] == before[-len(before) // 2 :]


@pytest.mark.parametrize("flags", [os.O_APPEND, 0], ids=["appending", "not appending"])
def test_without_a_collapse_the_writers_are_stopped_for_the_cut(in_memory, flags):
    """On a tmpfs the log is refused until pause_writers allows it; then no line is lost, and the writer goes on."""
    tree = Tree(in_memory, JOB)
    with writing(tree.logs / "a.log", flags=flags) as writer:
        writer.write(2000)
        assert "pause_writers = true" in tree.do().event("rotate.refused")["advice"]
        tree.write_config(JOB + "pause_writers = true\n")
        for count in (1, 2000, 10_000):
            done = tree.do()
            event = rotated(done)
            assert event["stopped_ms"] > 0
            assert done.names().count("log.compressed") == 1
            writer.write(count)
            writer.check()
            writer.write(3000)


def test_who_was_stopped_already_stays_stopped(in_memory):
    """A writer that somebody stopped before is not made to go on by a rotation that stops its writers."""
    tree = Tree(in_memory, JOB + "pause_writers = true\n")
    with writing(tree.logs / "a.log") as writer:
        writer.write(2000)
        writer.process.send_signal(signal.SIGSTOP)
        until(lambda: state(writer.process.pid) == "T", "the writer to stop")
        rotated(tree.do())
        assert state(writer.process.pid) == "T"
        writer.process.send_signal(signal.SIGCONT)
        writer.write(1)
        writer.check()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_a_writer_that_has_just_gone_is_no_failure(tmp_path):
    """Who ends between being seen and being adopted has the log tried again, and a reused pid is not stopped."""
    log = tmp_path / "a.log"
    with writing(log, flags=0):
        inode = log.stat().st_dev, log.stat().st_ino
        (seen,) = holders.find({inode})[inode]
        with pytest.raises(NotYet, match="another one by now"), freeze.stopped([(seen.pid, seen.start - 1)]):
            pass
        assert state(seen.pid) in "SR"
    with log.open("r+b") as opened, pytest.raises(NotYet, match="has just gone"):
        descriptors.make_append(opened.fileno(), [seen])


def test_lines_are_only_lost_if_the_job_says_so_and_their_size_is_told(in_memory):
    """lossy cuts the log while it is written: the event carries how many bytes were seen to go."""
    tree = Tree(in_memory, JOB + "lossy = true\n")
    with writing(tree.logs / "a.log") as writer:
        writer.write(2000)
        assert rotated(tree.do())["lost_bytes"] == 0
        writer.write(2000)
        writer.check()


def test_a_job_can_ask_for_a_collapse(tmp_path):
    """reopen = "collapse" rotates in place although a signal is configured that would be sent otherwise."""
    signalled = 'reopen = "collapse"\nsignal = { name = "USR1", pidfile = "HERE/pid" }\n'
    tree = Tree(tmp_path, JOB + signalled)
    with writing(tree.logs / "a.log") as writer:
        (tmp_path / "pid").write_text(str(writer.process.pid))
        writer.write(2000)
        assert "collapsed" in str(rotated(tree.do())["reason"])
        writer.write(2000)
        writer.check()


def test_archives_made_in_place_are_counted_and_expire_like_others(tmp_path):
    """keep = 2 leaves the two newest generations, of whichever way they were made."""
    tree = Tree(tmp_path, JOB + "keep = 2\n")
    with writing(tree.logs / "a.log") as writer:
        for _ in range(4):
            writer.write(2000)
            rotated(tree.do())
    names = [name for name in tree.names() if name != "a.log"]
    assert len(names) == 2
    assert all(name.endswith(".zst") for name in names)


def test_olddir_may_be_another_file_system(tmp_path, in_memory):
    """Archives made in place are copies, so they can lie anywhere; what is under way is written down in state_dir."""
    tree = Tree(tmp_path, JOB + f'olddir = "{in_memory}/old"\n')
    with writing(tree.logs / "a.log") as writer:
        writer.write(2000)
        rotated(tree.do())
        (archive,) = (in_memory / "old").iterdir()
        writer.log.parent.joinpath(archive.name).write_bytes(archive.read_bytes())
        writer.check()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 32 MiB."""
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], capture_output=True, check=False)
    mounted = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if made.returncode or mounted.returncode:
        pytest.skip(f"no ext4 can be mounted here (it takes root and loop devices): {mounted.stderr}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_a_log_larger_than_the_free_space_is_rotated_part_by_part(small_disk, codec):
    """20 MiB of log with 300 KiB free: it ends in one archive, nothing is lost, and the space is there again."""
    tree = Tree(small_disk, JOB + f'compress = "{codec}"\n')
    tree.log("filler", b"")
    with writing(tree.logs / "a.log", size=150) as writer:
        while (tree.logs / "a.log").stat().st_size < 20 << 20:
            writer.write(20_000)
        fill(tree.logs / "filler", leave=300 << 10)
        done = tree.do()
        assert rotated(done)["in_bytes"] >= 20 << 20
        assert (tree.logs / "a.log").stat().st_size < 2 * 4096
        writer.check()
    assert tree.temporaries() == []


def fill(path: Path, leave: int) -> None:
    """Fills the disk but for `leave` bytes."""
    os.sync()
    with path.open("wb") as file:
        disk = os.statvfs(path)
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - leave)
