"""`maintd logs`: every byte of a log once and in order, over all its generations, whoever made them, as they come."""

import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backports import zstd
from supervisor.loggers import RotatingFileHandler
from zlib_ng import gzip_ng

from maintd import marks
from maintd.names import CODEC_SUFFIXES
from tests.conftest import Command, Site, environment, snapshot, until
from tests.test_bad_disk import give_away, powerless
from tests.test_tail import stopped
from tests.tree import MAINTD, Forks, Tree

NOW = datetime.now(UTC)
JOBS = """
[rotate.services]
paths = ["{logs}/app/*.log"]
exclude = ["{logs}/app/web.log"]
max_size = "1G"
olddir = "old"
compress = "zstd"

[rotate.web]
paths = ["{logs}/app/web.log", "{logs}/site/api.log"]
max_size = "1G"
compress = "gzip"

[rotate.plain]
paths = ["{logs}/plain.log"]
max_size = "1G"
compress = "none"
"""
WAYS = {"app/api.log": ("old", "zstd"), "app/web.log": ("", "gzip"), "plain.log": ("", "none")}
JOBS_OF = {"app/api.log": "rotate.services", "app/web.log": "rotate.web", "plain.log": "rotate.plain"}


class Logs:
    """Logs below a folder, each with all that was ever written to it."""

    def __init__(self, site: Site) -> None:
        self.folder, self.config = site.logs, site.configure(JOBS)
        self.written: dict[str, bytes] = {}
        for name in ("app/old", "site"):
            (self.folder / name).mkdir(parents=True)

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, content: bytes, hours_ago: float = 0) -> None:
        self.written[name] = self.written.get(name, b"") + content
        with self.path(name).open("ab") as file:
            file.write(content)
        then = (NOW - timedelta(hours=hours_ago)).timestamp()
        os.utime(self.path(name), (then, then))

    def rotate(self, name: str) -> None:
        """Sets a log aside as its job does, in an hour after what it holds."""
        log, (folder, codec) = self.path(name), WAYS[name]
        info = log.stat()
        stamp = datetime.fromtimestamp(info.st_mtime, UTC).replace(microsecond=0) + timedelta(minutes=10)
        archive = log.parent / folder / f"{log.name}.{stamp:%Y%m%dT%H%M%SZ}"
        assert not list(archive.parent.glob(f"{archive.name}*"))
        made = archive.with_name(archive.name + CODEC_SUFFIXES[codec])
        made.write_bytes({"zstd": zstd.compress, "gzip": gzip_ng.compress, "none": bytes}[codec](log.read_bytes()))
        os.utime(made, ns=(info.st_atime_ns, info.st_mtime_ns))
        log.rename(made) if codec == "none" else log.unlink()
        log.touch()

    def roll_over(self, name: str) -> None:
        """As supervisord does it."""
        handler = RotatingFileHandler(str(self.path(name)), maxBytes=1, backupCount=10)
        handler.doRollover()
        handler.close()

    def maintd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return Forks.of_this_process().run(["-c", str(self.config), *arguments])

    def shown(self, *arguments: str) -> bytes:
        done = self.maintd("logs", *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.encode()


@pytest.fixture
def logs(site: Site) -> Logs:
    return Logs(site)


def numbered(first: int, last: int) -> bytes:
    return b"".join(b"line %05d\n" % number for number in range(first, last))


@pytest.mark.parametrize("name", WAYS)
def test_all_generations_are_one_stream(logs: Logs, name: str):
    """In an olddir, beside the log, compressed, plain, numbered by supervisord: all bytes, once, in order; also a line
    that begins in one generation and ends in the next, and a last one without an end."""
    for part in range(3):
        logs.write(name, numbered(1000 * part, 1000 * part + 999) + b"begun here ", hours_ago=9 - part)
        logs.rotate(name)
        logs.write(name, b"and ended here\n", hours_ago=8.5 - part)
    logs.roll_over(name)
    logs.write(name, b"what maintd itself set aside\n")
    done = logs.maintd("do", JOBS_OF[name])
    assert done.returncode == 0, done.stderr
    logs.write(name, b"the last one")
    assert logs.shown(str(logs.path(name))) == logs.written[name]
    matching = [line for line in logs.written[name].splitlines(keepends=True) if b"1" in line or b"last" in line]
    assert logs.shown(str(logs.path(name)), "--grep", "1|last") == b"".join(matching)
    assert logs.shown(str(logs.path(name)), "--grep", "here and ended") == 3 * b"begun here and ended here\n"


def test_a_large_log_is_searched_by_several_processes(logs: Logs):
    """Many generations, larger than a pipe and a chunk, give the same lines as a search of the whole."""
    for part in range(5):
        logs.write("app/api.log", numbered(40_000 * part, 40_000 * (part + 1)), hours_ago=9 - part)
        logs.rotate("app/api.log")
    whole = logs.written["app/api.log"]
    assert logs.shown("services/api") == whole
    assert logs.shown("services/api", "--grep", "line") == whole
    assert logs.shown("services/api", "--grep", "77$") == b"".join(
        line for line in whole.splitlines(keepends=True) if line.endswith(b"77\n")
    )


def test_the_mark_of_a_rotation_in_place_is_not_shown(logs: Logs):
    """The line of blanks that a rotation in place leaves at the head of a log is none of its lines."""
    logs.path("plain.log").write_bytes(marks.make(b"12345678", 4096) + b"one\n \t\ntwo\n")
    assert logs.shown("plain") == b"one\n \t\ntwo\n"
    logs.rotate("plain.log")
    logs.write("plain.log", b"three\n")
    assert logs.shown("plain", "--grep", "") == b"one\n \t\ntwo\nthree\n"


def test_generations_outside_the_time_are_not_even_opened(logs: Logs):
    """--since and --until leave out whole generations, by mtime and stamp; a damaged one among them is not noticed."""
    archives: list[Path] = []
    for part, hours_ago in enumerate((9, 7, 5, 3)):
        logs.write("app/api.log", b"part %d\n" % part, hours_ago)
        logs.rotate("app/api.log")
        archives += {*logs.path("app/old").iterdir()} - {*archives}
    logs.write("app/api.log", b"part 4\n", hours_ago=1)
    for damaged in (archives[0], archives[3]):
        info = damaged.stat()
        damaged.write_bytes(b"damaged")
        os.utime(damaged, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert logs.shown("services/api", "--since", "8h", "--until", "6h") == b"part 1\npart 2\n"
    assert logs.shown("services/api", "--since", "2h") == b"part 4\n"
    assert logs.shown("services/api", "--since", "30m") == b""
    done = logs.maintd("logs", "services/api", "--since", "8h")
    assert (done.returncode, done.stdout) == (1, "part 1\npart 2\npart 4\n")
    assert done.stderr.startswith(f"maintd: {archives[3]} cannot be read")
    assert len(done.stderr.splitlines()) == 1


def test_what_was_copied_or_touched_later_is_not_taken_for_newer(logs: Logs):
    """An archive with a later mtime than its stamp, as one that was brought back, hides none of those after it."""
    for part in range(3):
        logs.write("app/api.log", b"part %d\n" % part, hours_ago=9 - part)
        logs.rotate("app/api.log")
    oldest = min(logs.path("app/old").iterdir())
    os.utime(oldest)
    renamed = oldest.with_name("api.log.20200101T000000Z.zst")
    oldest.rename(renamed)
    assert logs.shown("services/api", "--until", "2020-06-01") == b"part 0\npart 1\n"


@pytest.mark.parametrize("search", [(), ("--grep", "two|four")], ids=["all", "grep"])
def test_a_damaged_generation_is_told_and_the_rest_shown(logs: Logs, search: tuple[str, ...]):
    """What is cut off is shown as far as it goes, a line on stderr says so, and the exit code is 1."""
    logs.write("app/web.log", b"one\n", 9)
    logs.rotate("app/web.log")
    logs.write("app/web.log", b"two\n" + os.urandom(1000).hex().encode() + b"\n", 8)
    logs.rotate("app/web.log")
    logs.write("app/web.log", b"three\nfour\n")
    damaged = max(logs.path("app").glob("web.log.2*"))
    data, info = damaged.read_bytes(), damaged.stat()
    damaged.write_bytes(data[: len(data) // 2])
    os.utime(damaged, ns=(info.st_atime_ns, info.st_mtime_ns))
    done = logs.maintd("logs", "app/web", *search)
    assert done.returncode == 1
    assert done.stderr.startswith(f"maintd: {damaged} cannot be read, or not to its end")
    lines = [line for line in done.stdout.splitlines() if line.isalpha()]
    assert lines == (["two", "four"] if search else ["one", "two", "three", "four"])


def test_logs_are_called_as_people_call_them(logs: Logs):
    """A path, a job, a job's log, the end of a path; with several logs each is named above what is shown of it."""
    for name in ("app/api.log", "app/web.log", "app/db.log", "site/api.log"):
        logs.write(name, name.encode() + b"\n")
    api, web = logs.path("app/api.log"), logs.path("app/web.log")
    for name in ("services/api", "rotate.services/api.log", "app/api", "app/api.log", str(api)):
        assert logs.shown(name) == b"app/api.log\n", name
    assert logs.shown("web/web") == logs.shown("web.log") == b"app/web.log\n"
    db = logs.path("app/db.log")
    both = f"==> {api} <==\napp/api.log\n\n==> {db} <==\napp/db.log\n".encode()
    assert (
        logs.shown("rotate.services") == logs.shown("services") == logs.shown(str(api), str(db), "services/api") == both
    )
    assert logs.shown("-q", "services") == b"app/api.log\napp/db.log\n"
    assert logs.shown("services", "--grep", "db") == f"==> {db} <==\napp/db.log\n".encode()
    assert logs.shown(str(web)) == b"app/web.log\n"


def test_names_that_are_not_clear_are_errors_that_say_so(logs: Logs):
    """No such log, several of them, a directory, an expression that is none: usage errors, which name what there is."""
    logs.write("app/api.log", b"one\n")
    logs.write("site/api.log", b"two\n")

    def error(*arguments: str) -> str:
        done = logs.maintd("logs", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    several = error("api")
    assert f"{logs.path('app/api.log')}, {logs.path('site/api.log')}" in several
    assert "say more of its path" in several
    assert "no log and no job that rotates logs is called 'no/such'" in error("no/such")
    assert "is a directory" in error(str(logs.path("app")))
    assert "no regular expression" in error("services/api", "--grep", "(")
    assert "--until says nothing" in error("services/api", "-f", "--until", "1h")
    assert "neither a duration" in error("services/api", "--since", "yesterday")
    missing = logs.maintd("logs", str(logs.path("missing.log")))
    assert (missing.returncode, "No such file" in missing.stderr) == (1, True)


def test_a_search_that_finds_nothing_says_no(logs: Logs):
    """The exit code is 3 if no line matches, as that of other questions whose answer is no."""
    logs.write("app/api.log", b"one\n")
    assert logs.maintd("logs", "services/api", "--grep", "two").returncode == 3
    assert logs.maintd("logs", "services/api", "--grep", "one").returncode == 0


def test_a_log_that_is_missing_just_now_still_has_its_archives(logs: Logs):
    """Between a rotation and the first line, or after a service is gone, what was set aside is shown."""
    logs.write("app/api.log", b"one\n")
    logs.rotate("app/api.log")
    logs.path("app/api.log").unlink()
    assert logs.shown("services/api") == logs.shown(str(logs.path("app/api.log"))) == b"one\n"


def test_a_path_needs_no_config(logs: Logs, tmp_path: Path):
    """A log that no job is about, and a config that is not there or has errors, keep nobody from reading."""
    log = tmp_path / "other.log"
    log.write_bytes(b"\xff\x00\r\nbytes as they are")
    for text in (None, "nonsense"):
        logs.config.unlink() if text is None else logs.config.write_text(text)
        done = logs.maintd("logs", str(log))
        assert done.returncode == 0, done.stderr
        assert os.fsencode(done.stdout) == log.read_bytes()
    assert logs.maintd("logs", "services/api").returncode == 1


def test_bytes_are_not_changed(maintd: Command, site: Site):
    """NULs, carriage returns, other encodings: what is in the log is what comes out."""
    data = bytes(range(256)) * 3000
    site.configure('[rotate.a]\npaths = ["{logs}/a.log"]\ncron = "@daily"\n')
    process = maintd.start("logs", str(site.log("a.log", data)))
    assert process.communicate(timeout=30)[0] == data


class Following:
    """`maintd logs -f` at work."""

    def __init__(self, maintd: Command, *arguments: str) -> None:
        self.process = maintd.start("logs", "-f", *arguments)

    def sees(self, expected: bytes) -> None:
        assert self.process.stdout
        assert os.read(self.process.stdout.fileno(), 0) == b""
        found = b""
        while len(found) < len(expected):
            found += os.read(self.process.stdout.fileno(), len(expected) - len(found))
        assert found == expected

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        assert (out, err.strip(), self.process.returncode) == (b"", b"", 130)


@pytest.fixture
def following(maintd: Command) -> Callable[..., Following]:
    return lambda *arguments: Following(maintd, *arguments)


def test_following_passes_through_rotations(logs: Logs, following):
    """From --since on, through rotations between two looks, to what is written after, each byte once."""
    logs.write("app/api.log", b"too old\n", hours_ago=9)
    logs.rotate("app/api.log")
    logs.write("app/api.log", b"old ", hours_ago=5)
    logs.rotate("app/api.log")
    logs.write("app/api.log", b"enough\n", hours_ago=4)
    seen = following("services/api", "--since", "6h")
    seen.sees(b"old enough\n")
    with stopped(seen.process):
        for part in range(3):
            logs.write("app/api.log", b"part %d\n" % part, hours_ago=3 - part)
            logs.rotate("app/api.log")
        logs.write("app/api.log", b"begun, ")
    seen.sees(b"part 0\npart 1\npart 2\nbegun, ")
    logs.write("app/api.log", b"ended\n")
    seen.sees(b"ended\n")
    seen.end()


def test_following_several_with_a_search(logs: Logs, following):
    """Several logs are followed at once, each named when its turn comes; of each only what matches."""
    api, db = logs.path("app/api.log"), logs.path("app/db.log")
    logs.write("app/api.log", b"an error\nall well\n")
    logs.write("app/db.log", b"all well\n")
    seen = following("services", "--grep", "error")
    seen.sees(f"==> {api} <==\nan error\n".encode())
    logs.write("app/db.log", b"another error")
    logs.write("app/db.log", b" of db\n")
    seen.sees(f"\n==> {db} <==\nanother error of db\n".encode())
    logs.write("app/api.log", b"well\nerror\n")
    seen.sees(f"\n==> {api} <==\nerror\n".encode())
    seen.end()


def test_following_what_is_too_old_begins_at_its_end(logs: Logs, following):
    """With --since and nothing of that time, only what comes from now on is shown."""
    logs.write("app/api.log", b"old\n", hours_ago=9)
    seen = following("services/api", "--since", "1h")
    until(lambda: b"maintd" in Path(f"/proc/{seen.process.pid}/cmdline").read_bytes(), "it has begun")
    until(lambda: any(os.path.realpath(link) == str(logs.path("app/api.log")) for link in opened(seen.process)), "open")
    logs.write("app/api.log", b"new\n")
    seen.sees(b"new\n")
    seen.end()


def opened(process: "subprocess.Popen[bytes]") -> list[Path]:
    return list(Path(f"/proc/{process.pid}/fd").iterdir())


@pytest.fixture
def archived(tmp_path: Path) -> tuple[Tree, bytes]:
    """A log with generations in the tree, in an archive one by one, and in bundles; and all that it ever held."""
    tree = Tree(tmp_path)
    rotate = '[rotate.app]\npaths = ["LOGS/*.log"]\nmax_size = "1G"\nolddir = "old"\n'
    head = rotate + '[archive.logs]\npaths = ["LOGS/old/*.log.*"]\ncron = "@daily"\n'
    whole = b""
    for day, options in (
        (1, 'bundle = "day"\n'),
        (2, 'bundle = "day"\n'),
        (3, ""),
        (4, 'compress = "none"\n'),
        (5, None),
    ):
        for part in (1, 2):
            content = b"".join(b"day %d part %d line %d\n" % (day, part, number) for number in range(20_000))
            whole += content
            packed = part == 2 and day != 3
            stamp = f"202602{day:02d}T0{part}0000Z"
            path = tree.log(
                f"old/app.log.{stamp}{'.zst' if packed else ''}", zstd.compress(content) if packed else content
            )
            then = datetime(2026, 2, day, part, tzinfo=UTC).timestamp()
            os.utime(path, (then, then))
        if options is not None:
            to = f'to = "HERE/archive{day % 2}"\nolder_than = "1d"\n'
            tree.write_config(head + to + options)
            assert tree.do("archive.logs").code == 0
    both = "".join(
        f'[archive.{name}]\npaths = ["LOGS/old/none.*"]\ncron = "@daily"\nto = "HERE/{name}"\nolder_than = "1d"\n'
        for name in ("archive0", "archive1")
    )
    tree.write_config(rotate + both)
    tree.log("app.log", b"the live one\n")
    return tree, whole + b"the live one\n"


def test_what_was_archived_and_bundled_is_part_of_the_stream(archived):
    """Live, set aside, compressed, archived and bundled generations are one stream, byte for byte, none unpacked."""
    tree, whole = archived
    assert len(list(tree.logs.rglob("*.log.*"))) == 2
    before = snapshot(tree.folder / "logs"), snapshot(tree.folder / "archive0"), snapshot(tree.folder / "archive1")
    shown = tree.run("logs", "app")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.encode() == whole
    assert before == tuple(snapshot(tree.folder / name) for name in ("logs", "archive0", "archive1"))


def test_archived_generations_are_searched_and_left_out_by_time(archived):
    """--grep looks into bundles too; --since and --until leave out archived generations like any other."""
    tree, whole = archived
    wanted = b"".join(line for line in whole.splitlines(keepends=True) if line.endswith(b"line 777\n"))
    assert wanted.count(b"\n") == 10
    assert tree.run("logs", "app", "--grep", " 777$").stdout.encode() == wanted
    some = tree.run("logs", "app", "--since", "2026-02-02T01:30:00Z", "--until", "2026-02-03T01:30:00Z").stdout.encode()
    assert some in whole
    assert some.startswith(b"day 2 part 2 line 0\n")
    assert some.endswith(b"day 3 part 2 line 19999\n")


def test_followed_from_long_ago_every_archived_generation_comes_once(archived):
    """-f --since goes through bundles and archives to the live file, without a line twice."""
    tree, whole = archived
    line = [MAINTD, "-c", str(tree.config), "logs", "app", "-f", "--since", "2026-01-01"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout
        seen = b""
        while not seen.endswith(b"the live one\n"):
            seen += os.read(process.stdout.fileno(), 1 << 20)
        process.terminate()
    assert seen == whole


def test_what_an_archive_has_lost_is_told(archived):
    """An object that is gone is named on stderr if its time is asked for; the rest is shown, and it ends with 1."""
    tree, whole = archived
    (lost,) = (tree.folder / "archive1").glob("*T010000Z.zst")
    lost.unlink()
    shown = tree.run("logs", "app")
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
    assert f"{lost} cannot be read" in shown.stderr
    assert shown.stdout.encode() == b"".join(
        line for line in whole.splitlines(keepends=True) if not line.startswith(b"day 3 part 1 ")
    )
    assert tree.run("logs", "app", "--grep", "day 3 part 1").returncode == 1
    later = tree.run("logs", "app", "--since", "2026-02-04")
    assert (later.returncode, later.stderr) == (0, "")


def test_an_archive_that_cannot_be_looked_into_is_told(tmp_path: Path):
    """Not there any more, or its manifest not to be read: told of the logs that it may hold, with 1; not of others."""
    tree = Tree(
        tmp_path,
        '[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "1G"\n'
        '[archive.old]\npaths = ["LOGS/app.log.*"]\ncron = "@daily"\nto = "HERE/archive"\nolder_than = "1d"\n',
    )
    then = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
    os.utime(tree.log("app.log.20260201T000000Z", b"old\n"), (then, then))
    for name in ("app.log", "other.log"):
        tree.log(name, b"live\n")
    assert tree.do("archive.old").code == 0
    assert tree.run("logs", "app").stdout == "old\nlive\n"
    archive = tree.folder / "archive"
    archive.rename(tree.folder / "elsewhere")
    gone = tree.run("logs", "app")
    assert (gone.returncode, gone.stdout) == (1, "live\n")
    assert f"{archive} is not there any more" in gone.stderr
    (archive / "maintd-manifest.jsonl").mkdir(parents=True)
    unread = tree.run("logs", "app", "--grep", "old")
    assert (unread.returncode, unread.stdout) == (1, "")
    assert f"the manifest of {archive} cannot be read" in unread.stderr
    other = tree.run("logs", "other")
    assert (other.returncode, other.stdout, other.stderr) == (0, "live\n", "")


@powerless
def test_what_another_user_may_not_look_into_is_told(tmp_path: Path):
    """Who may not know whether there was an archive is told, with 1, that something may be missing; and why."""
    tree = Tree(
        tmp_path,
        '[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "1G"\n'
        '[archive.old]\npaths = ["LOGS/app.log.*"]\nbase = "HERE"\ncron = "@daily"\nto = "HERE/archive"\n'
        'older_than = "1d"\n',
    )
    tree.log("app.log.20260201T000000Z", b"old\n", age=86_400 * 2)
    tree.log("app.log", b"live\n")
    assert tree.do("archive.old").code == 0
    archive = tree.folder / "archive"
    give_away(tree.folder / "state", archive / "logs")
    (archive / "logs").chmod(0o700)
    closed = tree.run("logs", "app", powerless=True)
    assert (closed.returncode, closed.stdout) == (1, "live\n")
    assert "Permission denied" in closed.stderr, "the object is there"
    archive.rename(tree.folder / "elsewhere")
    for search, shown in (((), "live\n"), (("--grep", "old"), "")):
        gone = tree.run("logs", "app", *search, powerless=True)
        assert (gone.returncode, gone.stdout) == (1, shown)
        assert f"{archive} is not there, and only maintd's own user may know whether it ever was" in gone.stderr


@pytest.mark.parametrize("olddir", ["", 'olddir = "old"\n'])
def test_a_log_of_which_all_is_archived_is_known_by_its_job_and_its_name(tmp_path: Path, olddir: str):
    """Its service is gone: the job, and the end of its path, still mean it; what others have archived they do not."""
    place = "old/" if olddir else ""
    tree = Tree(
        tmp_path,
        f'[rotate.web]\npaths = ["LOGS/*.log"]\nmax_size = "1G"\n{olddir}'
        f'[archive.old]\npaths = ["LOGS/{place}*"]\ncron = "@daily"\nto = "HERE/archive"\nolder_than = "1d"\n',
    )
    for number, name in enumerate(("app.log.20260201T000000Z", "app.log.1", "app.csv.1", "app.csv")):
        then = datetime(2026, 2, number + 1, tzinfo=UTC).timestamp()
        os.utime(tree.log(f"{place}{name}", b"%d\n" % number), (then, then))
    assert tree.do("archive.old").code == 0
    assert [path for path in tree.logs.rglob("*") if path.is_file()] == []
    for name in ("web", "app", "web/app.log"):
        shown = tree.run("logs", name)
        assert (shown.returncode, shown.stdout, shown.stderr) == (0, "0\n1\n", "")
