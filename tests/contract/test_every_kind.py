"""What every kind of job, every kind of action and every kind of event promises, whoever writes the next one."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil  # noqa: TID251 - only to find a tool
import subprocess
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import maintd
from maintd import events, jobs
from maintd.events import Event, Failure
from maintd.job import Context, Job
from maintd.steps import Action, Finding, Lane, Step
from maintd.triggers import Asked, Cause, Grown, Scheduled, Settling
from tests.conftest import snapshot

for found in pkgutil.walk_packages(maintd.__path__, "maintd."):
    importlib.import_module(found.name)

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
SOURCES = {path: path.read_text() for path in Path(maintd.__path__[0]).rglob("*.py")}


def subclasses(root: type) -> Iterator[type]:
    for kind in root.__subclasses__():
        yield kind
        yield from subclasses(kind)


KINDS = jobs.kinds()
ACTIONS = sorted(subclasses(Action), key=lambda kind: kind.__name__)
EVENTS = sorted(events.every_kind(), key=lambda kind: kind.name)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda kind: kind.__name__)
every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda kind: kind.name)


# A job of each kind, on a tree that gives each something to do. A new kind adds its options here.

OPTIONS: dict[str, dict[str, Any]] = {
    "rotate": {"paths": ["HERE/*.log"], "cron": "@daily", "keep": 1, "olddir": "old", "before": ["/bin/true"]},
    "compress": {"paths": ["HERE/*.csv"], "cron": "@daily", "older_than": "1h"},
}


def job_of(kind: str, folder: Path) -> Job:
    options = {
        key: [value.replace("HERE", str(folder)) for value in given] if key == "paths" else given
        for key, given in OPTIONS[kind].items()
    }
    return jobs.kind(kind).model_validate(options)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Logs, archives and data of every age and state, with everything odd among them."""
    folder = tmp_path / "here"
    (folder / "old").mkdir(parents=True)
    for name in ("a.log", "b.log", "a.csv", "b.csv", "empty.log", "c.log.maintd-tmp", "b.csv.zst.maintd-tmp"):
        (folder / name).write_bytes(b"" if name.startswith(("empty", "c")) else b"content\n" * 100)
        os.utime(folder / name, (1e9, 1e9))
    for stamp in ("20260101T000000Z", "20260102T000000Z-3.zst", "20260103T000000Z.zst.maintd-tmp"):
        (folder / "old" / f"a.log.{stamp}").write_bytes(b"content\n")
    (folder / "folder.log").mkdir()
    (folder / "link.log").symlink_to("a.log")
    os.mkfifo(folder / "fifo.log")
    return folder


CAUSES: list[Cause] = [Asked(), Asked(due_only=True), Scheduled(NOW), Scheduled(NOW, catch_up=True), Settling()]


def described(steps: list[Step]) -> list[tuple[Any, ...]]:
    return [
        (type(step), step.verb, step.target, step.detail, step.reason, step.in_bytes)
        if isinstance(step, Action)
        else (type(step), step.target, step.reason, step.event)
        for step in steps
    ]


@every_kind
def test_a_kind_has_its_help_and_describes_every_option(kind):
    """The docstring of a kind is its help, and every option has a description of its own."""
    model = jobs.kind(kind)
    assert model.__doc__
    assert model.__doc__ != Job.__doc__
    undescribed = [name for name, field in model.model_fields.items() if not field.description]
    assert undescribed == []


@every_kind
def test_a_job_is_frozen_and_refuses_unknown_keys(kind, tmp_path):
    """A job never changes, two of equal options are equal, and an option that the kind does not have is an error."""
    job = job_of(kind, tmp_path)
    assert job == job_of(kind, tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        job.enabled = False
    with pytest.raises(ValidationError, match="Extra inputs"):
        jobs.kind(kind).model_validate(OPTIONS[kind] | {"no_such_option": 1})


@every_kind
def test_a_plan_is_lazy_and_changes_nothing(kind, tree):
    """plan() begins nothing before the first step is asked for, and a whole plan leaves every file as it was."""
    job = job_of(kind, tree)
    before = snapshot(tree)
    steps = job.plan(Context(now=NOW, cause=Asked()))
    assert inspect.isgenerator(steps)
    assert inspect.getgeneratorstate(steps) == inspect.GEN_CREATED
    assert any(isinstance(step, Action) for step in steps)
    for cause in [*CAUSES, Grown(frozenset({str(tree / "a.log")}))]:
        list(job.plan(Context(now=NOW, cause=cause)))
    assert snapshot(tree) == before


@every_kind
def test_equal_contexts_give_equal_plans(kind, tree):
    """The same context on the same machine gives the same steps, targets, details and reasons, in the same order."""
    job = job_of(kind, tree)
    for cause in CAUSES:
        ctx = Context(now=NOW, cause=cause)
        assert described(list(job.plan(ctx))) == described(list(job.plan(ctx)))


@every_kind
@pytest.mark.parametrize("place", ["empty", "missing", "missing/deeper"])
def test_where_there_is_nothing_there_is_nothing_to_do(kind, tmp_path, place):
    """A plan on an empty or a missing directory holds no action, and never fails."""
    (tmp_path / "empty").mkdir()
    job = job_of(kind, tmp_path / place)
    for cause in CAUSES:
        steps = list(job.plan(Context(now=NOW, cause=cause)))
        assert [step for step in steps if isinstance(step, Action)] == []


@every_kind
def test_each_step_says_what_and_why(kind, tree):
    """Each action and each finding carries a target and a reason; what an action needs comes before it in the plan."""
    job = job_of(kind, tree)
    for lanes in {frozenset(job.lanes), *(frozenset({lane}) for lane in job.lanes)}:
        for cause in CAUSES:
            seen: list[Step] = []
            for step in job.plan(Context(now=NOW, cause=cause, lanes=lanes)):
                assert isinstance(step, Action | Finding)
                assert step.target
                assert step.reason
                if isinstance(step, Action):
                    assert step.lane in lanes
                    assert all(any(need is earlier for earlier in seen) for need in step.needs)
                seen.append(step)


MUTATING = (
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,mknod,mknodat,"
    "truncate,ftruncate,fallocate,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utime,utimes,utimensat,futimesat,"
    "setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,pwrite64,pwritev,copy_file_range,"
    "open,openat,openat2,creat,kill,tgkill,tkill,pidfd_send_signal,execve"
).replace(",", ",?")  # not every machine has all of them


@every_kind
def test_a_plan_makes_no_system_call_that_changes_anything(kind, tree, tmp_path):
    """Under strace, `maintd plan` makes no call that changes a file, opens none for writing and signals nobody."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    config = tmp_path / "maintd.toml"
    config.write_text(f"[{kind}.job]\n" + "".join(_toml(key, value, tree) for key, value in OPTIONS[kind].items()))
    config.chmod(0o644)
    program = Path(__file__).parents[2] / ".venv/bin/maintd"
    traced = tmp_path / "trace"
    done = subprocess.run(
        [strace, "-f", "-qq", "-o", traced, "-e", f"trace=?{MUTATING}", program, "-c", config, "plan", "--json"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    if "ptrace" in done.stderr:
        pytest.skip("this machine allows no tracing")
    assert done.returncode == 0, done.stderr
    assert '"step": "action"' in done.stdout
    calls = [line.split(maxsplit=1)[1] for line in traced.read_text().splitlines()]
    assert [call for call in calls if not _is_harmless(call, str(program))] == []


def _toml(key: str, value: Any, tree: Path) -> str:
    if isinstance(value, list):
        return f"{key} = [{', '.join(_quoted(item.replace('HERE', str(tree))) for item in value)}]\n"
    return f"{key} = {_quoted(value) if isinstance(value, str) else value}\n"


def _quoted(text: str) -> str:
    return f'"{text}"'


def _is_harmless(call: str, program: str) -> bool:
    if call.startswith(("open(", "openat(", "openat2(")):
        return not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", call) or '"/dev/null"' in call
    return call.startswith((f'execve("{program}"', "+++", "---"))


@every_kind
def test_every_option_of_a_kind_is_read_somewhere(kind):
    """An option that no line of maintd ever reads is a promise to nobody."""
    own = importlib.import_module(f"maintd.jobs.{kind}").__file__
    read = {
        node.attr
        for path, text in SOURCES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and _is_job(node.value, is_own=str(path) == own)
    }
    assert sorted(set(jobs.kind(kind).model_fields) - read) == []


def _is_job(node: ast.expr, *, is_own: bool) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name == "job" or (name == "self" and is_own)


def test_every_kind_has_an_example_here():
    """This file knows a job of every kind: one that is added is held to all of this."""
    assert set(OPTIONS) == set(KINDS)


@every_action
def test_an_action_says_what_it_does_and_how_it_fails(action):
    """Each class of action has a verb, the event of its failure, its lane, a docstring, and is a frozen dataclass."""
    assert re.fullmatch(r"[a-z]+", action.verb)
    assert issubclass(action.failure, Failure)
    assert "name" in vars(action.failure)
    assert isinstance(action.lane, Lane)
    assert "__doc__" in vars(action)
    assert is_dataclass(action)
    assert action.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "apply" in {name for base in action.__mro__[:-2] for name in vars(base) if base is not Action}


@every_event
def test_an_event_is_named_described_and_speaks(event):
    """Each kind of event has a docstring, a name of the form noun.verb, a known level, and a sentence for people."""
    assert event.__doc__
    assert event.__doc__ != Event.__doc__
    assert not event.__doc__.startswith(f"{event.__name__}(")
    assert re.fullmatch(r"[a-z]+\.[a-z]+", event.name)
    assert event.level in events.LEVELS
    assert event.__dataclass_params__.frozen  # type: ignore[attr-defined]
    made = event(**{field.name: _example(str(field.type)) for field in fields(event)})
    assert made.msg.strip()
    assert "\n" not in made.msg
    assert issubclass(event, Failure) == (event.name.endswith(".failed"))
    assert not {"ts", "level", "event", "msg", "job", "run", "outcome", "dur_ms", "seq"} & set(made.fields())


def _example(annotation: str) -> Any:
    examples = {"str": "text", "int": 7, "float": 1.5, "bool": True}
    return next((value for name, value in examples.items() if name in annotation), None)


def test_no_two_events_have_one_name():
    """An event's name means one thing."""
    names = [event.name for event in EVENTS]
    assert sorted(set(names)) == sorted(names)


def test_every_event_is_made_somewhere():
    """An event that is declared and never emitted documents nothing."""
    text = "\n".join(SOURCES.values())
    assert [event.__name__ for event in EVENTS if len(re.findall(rf"\b{event.__name__}\b", text)) < 2] == []


def test_no_kind_is_named_anywhere_else():
    """Nothing outside jobs/ imports a kind: a new one is one file."""
    modules = [f"maintd.jobs.{kind}" for kind in KINDS]
    importers = [
        str(path)
        for path, text in SOURCES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module in modules
    ]
    assert importers == []
