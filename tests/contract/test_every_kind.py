"""What every kind of job, every kind of action and every kind of event promises, whoever writes the next one."""

import ast
import contextlib
import errno
import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil  # noqa: TID251 - only to find a tool
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import maintd
from maintd import ballast, events, jobs, rules
from maintd.errors import MaintdError, trouble
from maintd.events import Event, Failure
from maintd.job import Context, Job
from maintd.manifest import Manifest
from maintd.readings import Reading
from maintd.rules import Options
from maintd.runs import JobFailed
from maintd.steps import Action, Finding, Lane, Step
from maintd.triggers import Asked, AskedBefore, Cause, Grown, Scheduled, Settling
from maintd.values import completed
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
ACTIONS = sorted(
    (kind for kind in subclasses(Action) if hasattr(kind, "verb") or not kind.__subclasses__()),
    key=lambda kind: kind.__name__,
)
"""Those that a plan can hold: without a verb a class is what others have in common."""
EVENTS = sorted(events.every_kind(), key=lambda kind: kind.name)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda kind: kind.__name__)
every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda kind: kind.name)


# A job of each kind, on a tree that gives each something to do. A new kind adds its options here.

OPTIONS: dict[str, dict[str, Any]] = {
    "rotate": {"paths": ["HERE/*.log"], "cron": "@daily", "keep": 1, "olddir": "old", "before": ["/bin/true"]},
    "logrotate": {"include": ["HERE/stanzas"], "state": "HERE/status", "cron": "@daily"},
    "guard": {"directory": "HERE", "min_free": "99.99%", "ballast": "4K", "ballast_file": "HERE/ballast"},
    "storage": {"directories": ["HERE"], "every": "6h"},
    "compress": {"paths": ["HERE/*.csv"], "cron": "@daily", "older_than": "1h"},
    "archive": {"paths": ["HERE/**/*.csv"], "cron": "@daily", "older_than": "1h", "to": "HERE/archive"},
    "expire": {"paths": ["HERE/**/*.csv"], "cron": "@daily", "keep_last": 1, "empty_directories": True},
    "check.disk": {"path": "HERE"},
    "check.dns": {"name": "example.invalid", "server": "127.0.0.1", "port": 9, "timeout": "1s"},
    "check.file": {"paths": ["HERE/*.log"], "down_age": "1h"},
    "check.heartbeat": {"down_age": "1h"},
    "check.http": {"url": "http://127.0.0.1:9/health"},
    "check.load": {},
    "check.log": {"paths": ["HERE/*.log"], "matches": "ERROR", "down_count": 1},
    "check.memory": {},
    "check.postgres": {"conninfo": "host=127.0.0.1 port=9 user=nobody", "timeout": "3s"},
    "check.pressure": {"resource": "cpu"},
    "check.process": {"program": "api"},
    "check.program": {"command": ["/bin/true"]},
    "check.redis": {"port": 9, "timeout": "3s"},
    "check.sqlite": {"path": "HERE/data.sqlite"},
    "check.swap": {},
    "check.tcp": {"port": 9},
    "check.temperature": {},
    "check.tls": {"host": "127.0.0.1", "port": 9},
    "backup": {"databases": ["HERE/*.db"], "files": ["HERE/*.csv"], "destination": "HERE/kept", "cron": "@daily"},
    "sqlite": {"paths": ["HERE/*.db"], "indexes": ["trades(date)"], "cron": "@daily"},
    "limit": {"program": "api", "memory": "1G"},
    "revive": {"programs": ["api"]},
    "postgres": {"conninfo": "host=127.0.0.1 port=9 user=nobody", "cron": "@daily", "indexes": ["t(a)"]},
    "redis": {"port": 9, "cron": "@daily"},
    "drill": {"destination": "HERE", "set": "d", "cron": "@daily"},
}


STANZAS = """HERE/*.log HERE/gone.csv {
    daily
    rotate 1
    compress
    create
    notifempty
    postrotate
        true
    endscript
}
HERE/a.csv {
    size 10
    colour blue
}
"""


OF_PROGRAMS = ("limit", "revive")
OF_SNAPSHOTS = ("backup", "drill")
"""Kinds that act on programs of supervisord, of which there are none here: tests/supervised has them."""
OF_SERVERS = {"postgres", "redis"}
"""Kinds that look after a server: what there is to do is not read off the disk."""


def is_check(kind: str) -> bool:
    """Whether the kind only looks: it has no lane, and its plan no action."""
    return not jobs.kind(kind).lanes


def job_of(kind: str, folder: Path) -> Job:
    text = json.dumps(OPTIONS[kind]).replace("HERE", str(folder))
    return jobs.kind(kind).model_validate(json.loads(text))


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
    (folder / "ballast").write_bytes(ballast.MARK)
    with contextlib.closing(sqlite3.connect(folder / "d.db")) as database:
        database.execute("CREATE TABLE trades (date TEXT, symbol TEXT)")
        database.commit()
    (folder / "d.20260101T000000Z").mkdir()
    empty = Manifest("d", "2026-01-01T00:00:00+00:00", "1", "here", (), ())
    (folder / "d.20260101T000000Z/manifest.json").write_bytes(empty.written())
    sums = f"{hashlib.sha256(empty.written()).hexdigest()}  manifest.json\n"
    (folder / "d.20260101T000000Z/SHA256SUMS").write_text(sums)
    (folder / "folder.log").mkdir()
    (folder / "link.log").symlink_to("a.log")
    os.mkfifo(folder / "fifo.log")
    (folder / "stanzas").write_text(STANZAS.replace("HERE", str(folder)))
    (folder / "stanzas").chmod(0o644)
    return folder


CAUSES: list[Cause] = [Asked(), Asked(due_only=True), Scheduled(NOW), Scheduled(NOW, catch_up=True), Settling()]
CAUSES += [AskedBefore(frozenset([("/somewhere/a.log", NOW)]))]


def causes_of(kind: str) -> list[Cause]:
    """A check does the same for whatever cause."""
    return CAUSES[:1] if is_check(kind) else CAUSES


def described(steps: list[Step]) -> list[tuple[Any, ...]]:
    return [
        (type(step), step.verb, step.target, step.detail, step.reason, step.in_bytes)
        if isinstance(step, Action)
        else (type(step), step.target, step.health)  # what was measured differs each time
        if isinstance(step, Reading)
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


def test_a_rule_reads_the_options_that_it_names_and_no_others(tmp_path):
    """A rule over several options of a table can be asked while all others are wrong, and then lack a value."""
    for model in subclasses(Options):
        kind = getattr(model, "kind", "")
        required = vars(job_of(kind, tmp_path)) if kind in OPTIONS else {}
        for one in rules.rules(model):
            part = object.__new__(model)
            for name in one.options:
                field = model.model_fields[name]
                vars(part)[name] = (
                    required[name] if field.is_required() else field.get_default(call_default_factory=True)
                )
            assert isinstance(one.fault(part), str)


@every_kind
def test_a_plan_is_lazy_and_changes_nothing(kind, tree):
    """plan() begins nothing before the first step is asked for, and a whole plan leaves every file as it was."""
    job = job_of(kind, tree)
    before = snapshot(tree)
    steps = job.plan(Context(now=NOW, cause=Asked()))
    assert inspect.isgenerator(steps)
    assert inspect.getgeneratorstate(steps) == inspect.GEN_CREATED
    assert any(isinstance(step, Action) for step in steps) or is_check(kind) or kind in OF_PROGRAMS
    for cause in [*causes_of(kind), Grown(frozenset({str(tree / "a.log")}))]:
        list(job.plan(Context(now=NOW, cause=cause)))
    assert snapshot(tree) == before


@every_kind
def test_equal_contexts_give_equal_plans(kind, tree):
    """The same context on the same machine gives the same steps, targets, details and reasons, in the same order."""
    job = job_of(kind, tree)
    for cause in causes_of(kind):
        ctx = Context(now=NOW, cause=cause)
        assert described(list(job.plan(ctx))) == described(list(job.plan(ctx)))


@every_kind
@pytest.mark.parametrize("place", ["empty", "missing", "missing/deeper"])
def test_where_there_is_nothing_there_is_nothing_to_do(kind, tmp_path, place):
    """A plan on an empty or a missing directory holds no action, and never fails."""
    if kind in OF_SERVERS:
        pytest.skip("it looks after a server, and not after a place on the disk")
    (tmp_path / "empty").mkdir()
    job = job_of(kind, tmp_path / place)
    for cause in causes_of(kind):
        steps = list(job.plan(Context(now=NOW, cause=cause)))
        assert [step for step in steps if isinstance(step, Action)] == []


@every_kind
def test_each_step_says_what_and_why(kind, tree):
    """Each action and each finding carries a target and a reason; what an action needs comes before it in the plan."""
    job = job_of(kind, tree)
    for lanes in {frozenset(job.lanes), *(frozenset({lane}) for lane in job.lanes)}:
        for cause in causes_of(kind):
            seen: list[Step] = []
            for step in job.plan(Context(now=NOW, cause=cause, lanes=lanes)):
                assert isinstance(step, Action | Finding)
                assert step.target
                assert step.reason
                if isinstance(step, Action):
                    assert step.lane in lanes or Lane.STANZAS in lanes
                    assert all(any(need is earlier for earlier in seen) for need in step.needs)
                seen.append(step)


MUTATING = (
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,mknod,mknodat,"
    "truncate,ftruncate,fallocate,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utime,utimes,utimensat,futimesat,"
    "setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,pwrite64,pwritev,copy_file_range,"
    "open,openat,openat2,creat,kill,tgkill,tkill,pidfd_send_signal,execve"
).replace(",", ",?")  # not every machine has all of them


TRACED = [*([kind] for kind in KINDS if not is_check(kind)), [kind for kind in KINDS if is_check(kind)]]


@pytest.mark.parametrize("kinds", TRACED, ids=lambda kinds: kinds[0])
def test_a_plan_makes_no_system_call_that_changes_anything(kinds, tree, tmp_path):
    """Under strace, `maintd plan` makes no call that changes a file, opens none for writing and signals nobody.

    Checks, and what looks at snapshots, may start a process of their own to ask through, and end it.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    config = tmp_path / "maintd.toml"
    tables = (
        f"[{kind}.job]\n" + "".join(_toml(key, value, tree) for key, value in OPTIONS[kind].items()) for kind in kinds
    )
    config.write_text("\n".join(tables))
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
    assert ('"step": "action"' in done.stdout) != (is_check(kinds[0]) or kinds[0] in OF_PROGRAMS)
    calls = [line.split(maxsplit=1)[1] for line in traced.read_text().splitlines()]
    if is_check(kinds[0]) or kinds[0] in OF_SNAPSHOTS:
        calls = [call for call in calls if not call.startswith(("execve(", "kill(")) and '"/proc/self/fd/' not in call]
    assert [call for call in calls if not _is_harmless(call, str(program))] == []


@every_kind
def test_a_check_gives_one_reading_and_no_action(kind, tree):
    """A kind that only looks gives one reading for whatever cause, also where nothing is there to be looked at."""
    if not is_check(kind):
        pytest.skip("it does not only look")
    for folder in (tree, tree / "missing"):
        steps = list(job_of(kind, folder).plan(Context(now=NOW, cause=Asked())))
        assert [type(step) for step in steps] == [Reading]
        assert steps[0].event.fields()["health"] == steps[0].health


def _toml(key: str, value: Any, tree: Path) -> str:
    if isinstance(value, list):
        return f"{key} = [{', '.join(_quoted(item.replace('HERE', str(tree))) for item in value)}]\n"
    if isinstance(value, bool):
        return f"{key} = {str(value).lower()}\n"
    value = value.replace("HERE", str(tree)) if isinstance(value, str) else value
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
    options = (base for base in jobs.kind(kind).__mro__ if issubclass(base, Options) and base not in (Job, Options))
    bases = {inspect.getfile(base) for base in options}
    read = {
        name for path, owner, name in _attributes() if owner == "job" or (owner == "self" and path in {own, *bases})
    }
    assert sorted(set(jobs.kind(kind).model_fields) - read) == []


@cache
def _attributes() -> list[tuple[str, str, str]]:
    """(file, the last name before the dot, attribute) of every attribute that maintd reads."""
    return [
        (str(path), getattr(node.value, "id", getattr(node.value, "attr", "")), node.attr)
        for path, text in SOURCES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
    ]


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
    assert is_dataclass(completed(action))
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
    assert completed(event).__dataclass_params__.frozen  # type: ignore[attr-defined]
    made = event(**{field.name: _example(str(field.type)) for field in fields(event)})
    assert made.msg.strip()
    assert "\n" not in made.msg
    assert issubclass(event, Failure) == (event.name.endswith(".failed"))
    assert not {"ts", "level", "event", "msg", "job", "run", "outcome", "dur_ms", "seq"} & set(made.fields())


def _example(annotation: str) -> Any:
    examples = {"str": "text", "int": 7, "float": 1.5, "bool": True}
    return next((value for name, value in examples.items() if name in annotation), None)


@pytest.mark.parametrize("event", [e for e in EVENTS if e.name.endswith(("failed", "refused", "rejected"))])
def test_a_failure_or_refusal_always_says_what_can_be_done(event):
    """An event that something did not go as it should cannot be made without advice, and gets one if nobody has any."""
    (advice,) = [field for field in fields(completed(event)) if field.name == "advice"]
    assert (advice.type, advice.default) == ("str" if isinstance(advice.type, str) else str, MISSING)
    if issubclass(event, Failure):
        assert event.usual_advice


def test_an_error_that_says_nothing_of_what_to_do_is_no_failure_without_advice():
    """Where an error has no hint, its failure has the advice of its kind; what nobody foresaw is to be reported."""
    for error in (MaintdError("no"), OSError(errno.EPROTO, "no"), KeyError("no")):
        assert JobFailed.from_trouble("target", "try it", trouble(error)).advice
    assert "report it" in trouble(KeyError("no")).advice


def test_nobody_gives_empty_advice():
    """No event, error or refusal is made with advice that is an empty text, and no refusal without."""
    calls = [
        (str(path), {word.arg: word.value for word in node.keywords}, node)
        for path, text in SOURCES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
    ]
    empty = [
        (path, node.lineno)
        for path, words, node in calls
        if any(isinstance(text := words.get(name), ast.Constant) and not text.value for name in ("advice", "hint"))
    ]
    mute = [(path, node.lineno) for path, words, node in calls if "refusal" in words and "advice" not in words]
    assert empty + mute == []


def test_no_two_events_have_one_name():
    """An event's name means one thing."""
    names = [event.name for event in EVENTS]
    assert sorted(set(names)) == sorted(names)


def test_every_event_is_made_somewhere():
    """An event that is declared and never emitted documents nothing."""
    words = Counter(re.findall(r"\w+", "\n".join(SOURCES.values())))
    assert [event.__name__ for event in EVENTS if words[event.__name__] < 2] == []


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
