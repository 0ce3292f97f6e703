"""What a rotate job's conditions and retention come to on the disk: what `do` takes, what it leaves, and why."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from .tree import Did, Tree

JOBS = {
    "min_size": 'min_size = "1K"\n',
    "max_size": 'max_size = "1K"\n',
    "min_age": 'min_age = "2h"\n',
    "keep": "keep = 2\n",
    "max_age": 'max_age = "10d"\n',
    "keep_within": 'keep = 1\nkeep_within = "5d"\n',
    "max_total": 'max_total = "3K"\n',
    "nothing": "",
    "exclude": 'exclude = ["LOGS/exclude/*secret*"]\n',
    "none": 'compress = "none"\n',
}


def archive(tree: Tree, log: str, age: timedelta, size: int = 10, suffix: str = ".zst") -> Path:
    stamp = (datetime.now(UTC) - age).strftime("%Y%m%dT%H%M%SZ")
    return tree.log(f"{log}.{stamp}{suffix}", b"x" * size)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, Did, dict[str, list[Path]]]:
    """One run of a job for each condition, each with a folder of its own; and the archives that were there before."""
    config = "".join(
        f'[rotate.{name}]\npaths = ["LOGS/{name}/*.log"]\ncron = "@daily"\n{options}' for name, options in JOBS.items()
    )
    tree = Tree(tmp_path_factory.mktemp("conditions"), config)
    day = timedelta(days=1)
    before = {name: [archive(tree, f"{name}/a.log", age * day) for age in (12, 7, 3, 0.05)] for name in JOBS}
    for name in JOBS:
        tree.log(f"{name}/a.log", b"x" * 500)
    tree.log("min_size/large.log", b"x" * 1024)
    archive(tree, "min_age/old.log", timedelta(hours=3))
    tree.log("min_age/old.log")
    tree.log("exclude/secret.log")
    before["max_total"] = [archive(tree, f"max_total/{log}.log", age * day, 1000) for log in "ab" for age in (9, 8, 4)]
    return tree, tree.do(), before


def kept(paths: list[Path]) -> list[bool]:
    return [path.exists() for path in paths]


def rotated(did: Did, job: str) -> list[str]:
    return [Path(event["target"]).name for event in did.events("log.rotated") if event["job"] == f"rotate.{job}"]


def expired(did: Did, job: str) -> list[str]:
    return [event["reason"] for event in did.events("log.expired") if event["job"] == f"rotate.{job}"]


def test_a_log_below_min_size_is_passed_over(ran):
    """min_size holds also when a person asks; a log of exactly that size is rotated."""
    assert rotated(ran[1], "min_size") == ["large.log"]


def test_asked_rotates_also_a_log_below_max_size(ran):
    """max_size makes a log due, it does not hinder: what a person asks for is rotated."""
    assert rotated(ran[1], "max_size") == ["a.log"]


def test_a_log_that_was_rotated_within_min_age_is_passed_over(ran):
    """min_age counts from the newest archive's stamp."""
    assert rotated(ran[1], "min_age") == ["old.log"]


def test_keep_counts_generations_with_the_one_just_made(ran):
    """With keep = 2 the new archive and the newest old one stay; the reason names the rank."""
    tree, did, before = ran
    assert kept(before["keep"]) == [False, False, False, True]
    assert expired(did, "keep") == ["generation 5, keep is 2", "generation 4, keep is 2", "generation 3, keep is 2"]
    assert len([name for name in tree.names() if name.startswith("keep/a.log.")]) == 2


def test_max_age_removes_what_is_older(ran):
    """max_age goes by the stamp in the name."""
    _, did, before = ran
    assert kept(before["max_age"]) == [False, True, True, True]
    assert expired(did, "max_age") == ["older than max_age 10d"]


def test_keep_within_protects_what_keep_would_remove(ran):
    """Generations younger than keep_within stay, however many there are: a crash loop must not push out its cause."""
    assert kept(ran[2]["keep_within"]) == [False, False, True, True]


def test_max_total_removes_the_oldest_of_all_logs_of_the_job(ran):
    """max_total counts over all logs of the job; the oldest go first, and each log keeps its newest."""
    _, did, before = ran
    assert kept(before["max_total"]) == [False, False, True, False, True, True]
    assert all("max_total is 3.0 KiB" in reason for reason in expired(did, "max_total"))


def test_without_retention_nothing_is_deleted(ran):
    """A job without keep, max_age or max_total deletes nothing at all."""
    _, did, before = ran
    assert kept(before["nothing"]) == [True] * 4
    assert expired(did, "nothing") == []


def test_an_excluded_log_is_never_touched(ran):
    """What `exclude` names is no log of the job."""
    tree, did, _ = ran
    assert rotated(did, "exclude") == ["a.log"]
    assert (tree.logs / "exclude/secret.log").read_bytes() == b"one line\n"


def test_compress_none_leaves_archives_plain(ran):
    """With compress = "none" archives stay as they were written."""
    tree = ran[0]
    plain = [name for name in tree.names() if name.startswith("none/a.log.") and not name.endswith(".zst")]
    assert len(plain) == 1


def test_everything_went_well(ran):
    """Conditions are no failures: exit code 0, and one job.finished for each job that did anything."""
    _, did, _ = ran
    assert did.code == 0, did
    finished = [event["job"] for event in did.events("job.finished")]
    assert finished == [f"rotate.{name}" for name in JOBS]


def test_due_restricts_to_what_is_due(tmp_path):
    """`do --due` rotates what missed its cron or interval or is too large, and leaves a log without archives."""
    tree = Tree(
        tmp_path,
        '[rotate.cron]\npaths = ["LOGS/cron/*.log"]\ncron = "@daily"\n'
        '[rotate.every]\npaths = ["LOGS/every/*.log"]\nevery = "6h"\n'
        '[rotate.size]\npaths = ["LOGS/size/*.log"]\nmax_size = "1K"\n',
    )
    for folder in ("cron", "every"):
        for log, age in (("late.log", timedelta(days=2)), ("fresh.log", timedelta())):
            tree.log(f"{folder}/{log}")
            archive(tree, f"{folder}/{log}", age)
        tree.log(f"{folder}/new.log")
    tree.log("size/large.log", b"x" * 1025)
    tree.log("size/small.log")
    done = tree.run("do", "--all", "--due")
    assert done.returncode == 0, done.stderr
    zst = {name.split(".log.")[0] for name in tree.names() if name.endswith(".zst")}
    fresh = {name for name in tree.names() if (tree.logs / name).stat().st_size == 0}
    assert fresh == {"cron/late.log", "every/late.log", "size/large.log"}
    assert "cron/new" not in zst


def test_what_do_does_is_what_plan_showed(tmp_path):
    """The steps of `do` are those of `plan`, in that order, with the same targets; and plan changed nothing."""
    tree = Tree(
        tmp_path,
        '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\nkeep = 1\nolddir = "old"\n'
        '[compress.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1d"\n',
    )
    for name in ("a.log", "b.log"):
        tree.log(name)
        archive(tree, f"old/{name}", timedelta(days=3))
    tree.log("c.csv", age=1e6)
    before = _without_stamp(tree.plan())
    done = tree.do()
    steps = [message for message in done.messages if message["type"] == "step"]
    in_order = sorted(steps, key=lambda step: (step["job"] != "rotate.all", step["index"]))
    assert _without_stamp(in_order) == before
    assert done.code == 0, done
    assert len(before) == 7


def of_the_future(tree: Tree, log: str, name: str, age: float) -> Path:
    """An archive whose stamp lies years ahead, and that was last written `age` seconds ago."""
    return tree.log(f"{log}.20990101T000000Z{name}", b"x" * 100, age=age)


def test_an_archive_stamped_in_the_future_is_as_old_as_its_mtime(tmp_path):
    """After a clock that was wrong once min_age, --due and max_age go on: by when such archives were last written."""
    tree = Tree(
        tmp_path,
        '[rotate.age]\npaths = ["LOGS/age/*.log"]\ncron = "@daily"\nmin_age = "2h"\n'
        '[rotate.due]\npaths = ["LOGS/due/*.log"]\nevery = "1d"\n'
        '[rotate.max]\npaths = ["LOGS/max/*.log"]\nevery = "1d"\nmax_age = "10d"\n',
    )
    hour, day = 3600.0, 86_400.0
    for log, age in (("age/young", hour), ("age/old", 3 * hour), ("due/young", hour), ("due/old", 2 * day)):
        tree.log(f"{log}.log")
        of_the_future(tree, f"{log}.log", ".zst", age)
    old, young = (of_the_future(tree, "max/a.log", name, age * day) for name, age in (("", 20), ("-1.zst", 3)))
    assert rotated(tree.do("rotate.age"), "age") == ["old.log"]
    assert rotated(tree.do("rotate.due", "--due"), "due") == ["old.log"]
    tree.log("max/a.log")
    done = tree.do("rotate.max")
    assert expired(done, "max") == ["older than max_age 10d"]
    assert kept([old, young]) == [False, True]
    assert Path(done.event("log.rotated")["rotated_to"]).name == "a.log.20990101T000000Z-2"


def _without_stamp(steps: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """Verb and target; the stamp of a new archive is that of the moment of the run."""
    return [(step["verb"], str(step["target"]).split(f".log.{datetime.now(UTC):%Y}")[0]) for step in steps]


def test_a_stamp_in_other_digits_than_ascii_is_nobodys_archive(tmp_path):
    """A file whose stamp holds full-width digits was not named by maintd, and no retention ever deletes it."""
    tree = Tree(tmp_path, '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\nmax_age = "1d"\nkeep = 1\n')
    tree.log("a.log")
    ours = tree.log("a.log.20260101T000000Z.zst")
    foreign = [
        tree.log(f"a.log.{stamp}")
        for stamp in ("\N{FULLWIDTH DIGIT TWO}0260101T000000Z", "20260101T00000\N{FULLWIDTH DIGIT ZERO}Z.zst")
    ]
    done = tree.do()
    assert done.code == 0, done
    assert (ours.exists(), kept(foreign)) == (False, [True, True])
    assert [path.read_bytes() for path in foreign] == [b"one line\n"] * 2


def test_max_total_does_not_count_what_is_still_to_be_compressed(tmp_path):
    """An uncompressed archive larger than max_total costs no other archive its life before it was compressed."""
    tree = Tree(tmp_path, '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\nmax_total = "50K"\n')
    day = timedelta(days=1)
    small = [archive(tree, "a.log", age * day, 1000) for age in (9, 8, 4)]
    big = archive(tree, "a.log", day, 200_000, suffix="")
    done = tree.do()
    assert (done.code, done.events("log.expired")) == (0, []), done
    assert kept(small) == [True] * 3
    assert done.event("log.compressed")["target"] == str(big)
    assert tree.do().events("log.expired") == []
