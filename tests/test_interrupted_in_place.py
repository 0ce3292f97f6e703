"""A rotation in place that was cut off at some point, with something done by others before the next run comes."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from backports import zstd

from .conftest import environment, until
from .numbered import Writer, writing
from .tree import MAINTD, ROOT, Did, Tree, content

JOB = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
BOTH = JOB + '[compress.everything]\npaths = ["LOGS/*"]\ncron = "@daily"\nolder_than = "0s"\n'
NOBODY = 1234
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

CUT_OFF = """
import importlib, json, os, sys
from maintd import child

name, calls, begun = sys.argv[1].rpartition("."), int(sys.argv[2]), 0
module = importlib.import_module("maintd." + name[0])
real = getattr(module, name[2])

def counted(*arguments, **named):
    global begun
    begun += 1
    if begun == calls:
        os._exit(137)
    return real(*arguments, **named)

def call(self, function, arguments, **_):
    home, _, found = function.partition(":")
    return getattr(importlib.import_module(home), found)(lambda done: None, **arguments)

setattr(module, name[2], counted)
child.Worker.call = call  # in this process, so that it ends here
sys.argv = ["maintd", *sys.argv[3:]]
from maintd import cli
cli.main()
"""
BEFORE_THE_MARK = ("marks.make", 1)
BEFORE_THE_COLLAPSE = ("linux.urgent", 1)
BEFORE_PUBLISHING = ("durable.publish", 1)
BEFORE_FORGETTING = ("durable.forget_intent", 1)


def cut_off(tree: Tree, where: tuple[str, int], job: str = "rotate.all") -> None:
    """`maintd do`, killed before a function of it is called for so many times."""
    line = [MAINTD.with_name("python"), "-c", CUT_OFF, *map(str, where), "-c", str(tree.config), "do", job]
    done = subprocess.run(line, check=False, capture_output=True, text=True, cwd="/", env=environment(), timeout=60)
    assert done.returncode == 137, done


def how(done: Did) -> object:
    assert done.code in (0, 5), done  # 5: the log itself is due again, and put off until the next run
    return done.event("rotation.recovered")["how"]


def intents(tree: Tree) -> list[Path]:
    return list((tree.folder / "state/intents").iterdir())


@pytest.mark.parametrize("where", [BEFORE_THE_MARK, BEFORE_THE_COLLAPSE, BEFORE_PUBLISHING, BEFORE_FORGETTING])
def test_it_is_completed_and_forgotten(tmp_path, where):
    """Wherever it ended, the next run completes it, says so, and leaves neither intent nor temporary."""
    tree = Tree(tmp_path, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, where)
        writer.write(10)
        assert how(tree.do()) == "completed"
        writer.check()
        assert (tree.temporaries(), intents(tree)) == ([], [])


def test_no_other_job_takes_the_archive_for_a_leftover(tmp_path):
    """A compress job whose pattern names everything leaves the archive that is being made alone."""
    tree = Tree(tmp_path, BOTH)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, BEFORE_PUBLISHING)
        assert "log.compressed" not in tree.do("compress.everything").names()
        assert how(tree.do("rotate.all")) == "completed"
        writer.check()


def test_without_its_intent_what_may_be_the_only_copy_stays(tmp_path):
    """If somebody empties state_dir meanwhile, no job removes the archive that was being made, and plan says why."""
    tree = Tree(tmp_path, BOTH)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, BEFORE_PUBLISHING)
        (intent,) = intents(tree)
        intent.unlink()
        (left,) = tree.temporaries()
        for job in ("compress.everything", "rotate.all"):
            findings = [step for step in tree.plan(job) if step["target"].endswith(left)]
            assert [("only copy" in step["reason"], step.get("verb")) for step in findings] == [(True, None)]
        orphans = tree.do().events("temporary.orphaned")
        assert {event["target"] for event in orphans} == {str(tree.logs / left)}
        assert all("remove it" in event["advice"] for event in orphans)
        assert tree.temporaries() == [left]
        archived = zstd.decompress((tree.logs / left).read_bytes())
        assert archived.splitlines() == [writer.line(number) for number in range(3000)]


@as_root
def test_another_file_in_the_place_of_the_archive_is_left_alone(tmp_path):
    """Whoever can write the directory cannot have root publish, chown or overwrite another file under that name."""
    tree = Tree(tmp_path, JOB)
    tree.logs.chmod(0o777)
    secret = tree.log("secret", b"root's own")
    secret.chmod(0o600)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        os.chown(tree.logs / "a.log", NOBODY, NOBODY)
        cut_off(tree, BEFORE_PUBLISHING)
        (left,) = tree.temporaries()
        (tree.logs / left).rename(tree.folder / "away")
        secret.rename(tree.logs / left)
        done = tree.do()
        assert done.event("archive.lost")["level"] == "error"
        info = (tree.logs / left).stat()
        assert (info.st_uid, info.st_mode & 0o777, (tree.logs / left).read_bytes()) == (0, 0o600, b"root's own")
        assert intents(tree) == []


@as_root
@pytest.mark.parametrize("where", [BEFORE_THE_MARK, BEFORE_PUBLISHING])
def test_what_took_the_place_of_a_secret_log_opens_nothing_of_it(tmp_path, where):
    """Root's log in another user's directory, who puts a file of his own there: its archive stays root's, and 0600."""
    tree = Tree(tmp_path, JOB)
    log = tree.log("a.log", b"")
    log.chmod(0o600)
    os.chown(tree.logs, NOBODY, NOBODY)
    with writing(log) as writer:
        writer.write(3000)
        cut_off(tree, where)
        log.unlink()
        tree.log("a.log", b"his own\n" * 9)
        os.chown(log, NOBODY, NOBODY)
        log.chmod(0o666)
        done = tree.do()
        archive = Path(str(done.event("rotation.recovered")["rotated_to"]))
        assert (archive.stat().st_uid, archive.stat().st_mode & 0o777) == (0, 0o600), done
        assert content(archive).splitlines() == [writer.line(number) for number in range(3000)]
        assert log.read_bytes() == b"his own\n" * 9


@as_root
def test_another_directory_in_the_place_of_the_archives_is_left_alone(tmp_path):
    """Who exchanges the directory meanwhile cannot have root remove a file of that name from another one."""
    tree = Tree(tmp_path, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, ("codec.compress_fd", 1))
        (left,) = tree.temporaries()
        tree.logs.rename(tmp_path / "away")
        tree.logs.mkdir()
        (tree.logs / left).write_bytes(b"root's own, maybe the only copy")
        done = tree.do()
        assert "temporary.removed" not in done.names(), done
        assert (tree.logs / left).read_bytes() == b"root's own, maybe the only copy"


def test_a_name_that_is_taken_by_then_is_stepped_over(tmp_path):
    """If somebody made a file with the archive's name meanwhile, that stays, and the archive gets the next name."""
    tree = Tree(tmp_path, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, BEFORE_PUBLISHING)
        name = tree.temporaries()[0].removesuffix(".maintd-tmp")
        taken = tree.log(name, b"a stranger\n")
        done = tree.do()
        archive = Path(str(done.event("rotation.recovered")["rotated_to"]))
        assert (taken.read_bytes(), archive.name) == (b"a stranger\n", name.replace("Z.zst", "Z-1.zst"))
        assert content(archive).splitlines() == [writer.line(number) for number in range(3000)]


def test_a_log_that_no_job_names_any_more_is_completed_all_the_same(tmp_path):
    """After the patterns were changed, the job still completes what it had begun."""
    tree = Tree(tmp_path, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, BEFORE_PUBLISHING)
        tree.write_config(JOB.replace("*.log", "other.log"))
        assert how(tree.do()) == "completed"
        writer.check()


def test_one_that_another_version_wrote_is_left_to_that(tmp_path):
    """Intents of an unknown format are not acted on: a finding says which version they are for; nothing is lost."""
    tree = Tree(tmp_path, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, BEFORE_PUBLISHING)
        (intent,) = intents(tree)
        data = intent.read_bytes()
        head = json.loads(data[8 : data.index(b"\0")]) | {"format": 99}
        intent.write_bytes(encoded(head) + data[len(encoded(head)) :])
        assert any("another version" in step["reason"] for step in tree.plan())
        intent.write_bytes(data)
        assert how(tree.do()) == "completed"
        writer.check()


def encoded(fields: dict[str, object]) -> bytes:
    import zlib

    text = json.dumps(fields).encode()
    return (f"{zlib.crc32(text):08x}".encode() + text).ljust(20480, b"\0")


@contextmanager
def restarted(writer: Writer, mode: str) -> Iterator[Writer]:
    """The service was started again and opens its log in this mode: "w" cuts it and does not append."""
    writer.process.kill()
    writer.process.wait()
    if mode == "w":
        os.truncate(writer.log, 0)
    with writing(writer.log, flags=0 if mode == "w" else os.O_APPEND) as another:
        yield another


def test_a_service_that_begins_its_log_anew_is_no_hindrance(tmp_path):
    """With adopt, a writer that came back with an empty log and does not append: the archive is published at once."""
    tree = Tree(tmp_path, JOB + "adopt = true\n")
    with writing(tree.logs / "a.log", flags=0) as writer:
        writer.write(3000)
        cut_off(tree, BEFORE_THE_COLLAPSE)
        with restarted(writer, "w") as another:
            another.write(5)
            done = tree.do()
            assert how(done) == "abandoned"
            archive = Path(str(done.event("rotation.recovered")["rotated_to"]))
            assert content(archive).splitlines() == [writer.line(number) for number in range(3000)]
            assert (tree.logs / "a.log").read_bytes().splitlines() == [writer.line(number) for number in range(5)]
            assert intents(tree) == []


def test_a_last_part_that_is_all_mark_is_told_from_what_came_since(tmp_path):
    """All that was to go lies where the mark goes: if its service began the log anew, none of that is overwritten."""
    tree = Tree(tmp_path, JOB)
    log = tree.log("a.log", b"x" * 81 + b"\n" + b"of the first rotation\n" * 371)
    with writing(log) as writer:
        assert tree.do().event("log.rotated")
        mark = log.stat().st_size
        with log.open("ab") as service:
            service.write(b"a whole line, " * 8 + b"\n" + b"and a part of one" * 500)
        cut_off(tree, BEFORE_THE_MARK)
        assert 4096 < mark < 4096 + 97
        fresh = b"".join(writer.line(number) + b"\n" for number in range(200))
        log.write_bytes(fresh)
        assert how(tree.do()) == "abandoned"
        assert log.read_bytes() == fresh


@pytest.fixture
def in_memory() -> Iterator[Path]:
    place = Path(f"/dev/shm/maintd-interrupted-{os.getpid()}")
    try:
        place.mkdir()
    except OSError as error:
        pytest.skip(f"no tmpfs to write to: {error}")
    yield place
    subprocess.run(["rm", "-r", place], check=True)


def test_a_log_that_was_cut_by_its_service_gets_nothing_back(in_memory):
    """With pause_writers, cut off before the log was: if its service cut it, no byte is written to it any more."""
    tree = Tree(in_memory, JOB + 'pause_writers = true\ncompress = "none"\n')
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, BEFORE_THE_MARK)
        with restarted(writer, "w"):
            done = tree.do()
            assert how(done) == "abandoned"
            assert b"\0" not in (tree.logs / "a.log").read_bytes()
            archive = Path(str(done.event("rotation.recovered")["rotated_to"]))
            assert content(archive).splitlines() == [writer.line(number) for number in range(3000)]


def test_who_was_stopped_by_somebody_else_stays_stopped_after_a_recovery(in_memory):
    """Only writers that maintd had stopped itself are made to go on by the next run."""
    tree = Tree(in_memory, JOB + 'pause_writers = true\ncompress = "none"\n')
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        writer.process.send_signal(signal.SIGSTOP)
        until(lambda: "\nState:\tT" in status_of(writer), "the writer to stop")
        cut_off(tree, BEFORE_THE_MARK)
        assert how(tree.do()) == "undone"
        assert "\nState:\tT" in status_of(writer)
        writer.process.send_signal(signal.SIGCONT)
        writer.write(1)
        tree.do()
        writer.check()


def status_of(writer: Writer) -> str:
    return Path(f"/proc/{writer.process.pid}/status").read_text()


@pytest.mark.parametrize("text", [b"x" * 50_000, b"line\n" * 10_000 + b"the beginning of"], ids=["no line", "lines"])
def test_what_was_cut_without_stopping_anybody_is_in_the_archive(in_memory, text):
    """lossy, killed right after the cut: all that the log held is in the archive, whole lines or not."""
    tree = Tree(in_memory, JOB + 'lossy = true\ncompress = "none"\n')
    log = tree.log("a.log", text)
    with writing(log) as writer:
        cut_off(tree, ("durable.copy_attributes", 1))
        assert log.read_bytes() == b""
        assert how(tree.do()) == "completed"
        assert [content(path) for path in tree.logs.iterdir() if path != log] == [text]
        writer.write(1)


@contextmanager
def mounted(tmp_path: Path, *options: str) -> Iterator[Path]:
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    made = subprocess.run(["mke2fs", "-q", *options, image], capture_output=True, check=False)
    done = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if made.returncode or done.returncode:
        pytest.skip(f"no such file system can be mounted here (it takes root and loop devices): {done.stderr}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def _check_the_next_rung(place: Path) -> None:
    """Where nothing can be collapsed the log is refused with the option that helps, and rotated with it."""
    tree = Tree(place, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        assert "pause_writers" in tree.do().event("rotate.refused")["advice"]
        tree.write_config(JOB + "pause_writers = true\n")
        assert tree.do().event("log.rotated")["stopped_ms"] > 0
        writer.check()


def test_a_file_system_that_only_looks_like_ext4_is_not_collapsed(tmp_path):
    """ext3, which has the same magic number: refused with the option that helps, and the log stays as it was."""
    with mounted(tmp_path, "-t", "ext3") as place:
        _check_the_next_rung(place)


@contextmanager
def laid_over(place: Path) -> Iterator[Path]:
    """The path of an overlay file system, above one that is mounted at `place`."""
    names = {name: place / name for name in ("lower", "upper", "work", "seen")}
    for folder in names.values():
        folder.mkdir()
    options = "lowerdir={lower},upperdir={upper},workdir={work}".format(**names)
    done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, names["seen"]], check=False)
    if done.returncode:
        pytest.skip("no overlay can be mounted here")
    try:
        yield names["seen"]
    finally:
        subprocess.run(["umount", names["seen"]], check=True)


def bigalloc(tmp_path: Path, cluster: int) -> "AbstractContextManager[Path]":
    return mounted(tmp_path, "-t", "ext4", "-O", "bigalloc", "-C", str(cluster))


def test_ext4_with_bigalloc_is_collapsed_by_whole_clusters(tmp_path):
    """Which it does not say to anybody but who reads its superblock; a log of less than two of them waits."""
    with bigalloc(tmp_path, 64 << 10) as place:
        tree = Tree(place, JOB)
        with writing(tree.logs / "a.log") as writer:
            writer.write(1000)
            assert "too small to be rotated in place" in tree.run("plan").stdout
            writer.write(20_000)
            for _ in range(2):
                assert tree.do().event("log.rotated")["in_bytes"] > 0
                writer.write(10_000)
                writer.check()


def test_clusters_that_are_too_large_leave_the_next_rung(tmp_path):
    """What would stay at the head of the log is more than a reader should meet: the plan says what else there is."""
    with bigalloc(tmp_path, 1 << 20) as place:
        _check_the_next_rung(place)


def test_a_collapse_that_turns_out_impossible_is_taken_back(tmp_path):
    """An overlay does not say what lies below it: the log has its bytes again, and the advice is told."""
    with bigalloc(tmp_path, 64 << 10) as below, laid_over(below) as place:
        tree = Tree(place, JOB)
        with writing(tree.logs / "a.log") as writer:
            writer.write(3000)
            before = (tree.logs / "a.log").read_bytes()
            for _ in range(2):
                done = tree.do()
                assert "let its writer be told" in done.event("rotate.failed")["advice"]
                assert (tree.names(), intents(tree)) == (["a.log"], [])
                assert (tree.logs / "a.log").read_bytes() == before


def test_what_is_intended_is_durable_before_the_log_is_touched_again(tmp_path):
    """The sync of an intent may be what failed: so the next run writes it anew before it changes the log."""
    tree = Tree(tmp_path, JOB)
    with writing(tree.logs / "a.log") as writer:
        writer.write(3000)
        cut_off(tree, BEFORE_THE_MARK)
        line = [ROOT / ".venv/bin/python", "-c", NOTED, "-c", str(tree.config), "do", "--all"]
        done = subprocess.run(line, check=False, capture_output=True, text=True, cwd="/", env=environment())
        written = [word for word in done.stderr.splitlines() if word.startswith("/")]
        assert written[0].endswith(".intent")
        assert str(tree.logs / "a.log") in written
        writer.check()


NOTED = (
    CUT_OFF.partition("name, calls")[0]
    + """
from maintd import durable
real = durable.overwrite

def noted(descriptor, data, offset):
    print(os.readlink(f"/proc/self/fd/{descriptor}"), file=sys.stderr)
    real(descriptor, data, offset)

def call(self, function, arguments, **_):
    home, _, found = function.partition(":")
    return getattr(importlib.import_module(home), found)(lambda done: None, **arguments)

durable.overwrite = noted
child.Worker.call = call
sys.argv = ["maintd", *sys.argv[1:]]
from maintd import cli
cli.main()
"""
)
