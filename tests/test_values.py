"""A dataclass that is put off until its first instance is the same as one that is not."""

import copy
import dataclasses
import importlib
import pkgutil
import re
import threading
from pathlib import Path
from typing import ClassVar

import pytest

import maintd
from maintd import values
from maintd.values import completed, dataclass


def test_the_first_instance_makes_it_a_dataclass():
    """Fields, defaults, comparison, hash, repr, replace and frozenness are those of dataclasses."""

    @dataclass(frozen=True)
    class Point:
        x: int
        y: int = 2
        kind: ClassVar[str] = "point"

    assert not dataclasses.is_dataclass(Point)
    assert Point(1) == Point(1, 2) != Point(2)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert repr(Point(1)).endswith("Point(x=1, y=2)")
    assert dataclasses.replace(Point(1), y=3) == Point(1, 3)
    assert copy.copy(Point(1)) == Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Point(1).x = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        Point()  # type: ignore[call-arg]
    match Point(1):
        case Point(x, y):
            assert (x, y) == (1, 2)


def shapes(made):
    """Classes of each shape that has methods of its own, declared with this decorator, and instances of them."""

    @made(frozen=True)
    class Value:
        a: int
        b: object = dataclasses.field(default=0, compare=False)
        c: object = dataclasses.field(default=0, hash=False, repr=False)

    @made(frozen=True, kw_only=True)
    class Heir(Value):
        d: str = ""

    class Plain(Value):
        pass

    @made(frozen=True)
    class Lone:
        a: object = None

    @made(frozen=True)
    class Bare:
        pass

    @made()
    class Changing:
        a: int = 0

    @made(eq=False)
    class Itself:
        a: int = 0

    @made(frozen=True)
    class Shown:
        a: int = 0

        def __repr__(self) -> str:
            return "as it says"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Shown)

        def __hash__(self) -> int:
            return 7

    @made(frozen=True)
    class Alike:  # noqa: PLW1641 - dataclasses gives it a hash
        a: int = 0

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Alike)

    ring: list[object] = []
    ring.append(Lone(ring))
    return [
        *[kind(a, b, c) for kind in (Value, Heir, Plain) for a in (1, 2) for b in (0, 3) for c in (0, 4)],
        *[Heir(1, d="x"), Lone(1), Lone("1"), Lone(ring), Bare(), Bare(), Changing(1), Changing(1), Changing(2)],
        *[Itself(1), Itself(1), Shown(1), Shown(2), Alike(1), Alike(1), Alike(2)],
    ]


def hash_of(one: object) -> object:
    """The hash, or why there is none; that of an instance for which only identity counts is not compared."""
    try:
        return hash(one) if type(one).__hash__ is not object.__hash__ else "its own"
    except TypeError as error:
        return str(error)


def test_methods_are_those_of_dataclasses():
    """Comparison, hash and what is shown are the same for each shape of class, also for its fields' own options."""
    theirs, ours = shapes(dataclasses.dataclass), shapes(dataclass)
    assert [[one == other for other in ours] for one in ours] == [[one == other for other in theirs] for one in theirs]
    assert list(map(hash_of, ours)) == list(map(hash_of, theirs))
    assert list(map(repr, ours)) == list(map(repr, theirs))


def test_the_bases_are_completed_before_it():
    """A class has the fields of those it comes from, whichever of them is made first, also if it has slots itself."""

    @dataclass
    class Base:
        a: int

    @dataclass(kw_only=True)
    class Heir(Base):
        b: int = 0

    @dataclass(slots=True)
    class Slotted(Base):
        c: int = 1

    class Plain(Heir):
        pass

    assert Plain(1, b=2) == Plain(1, b=2)
    assert [field.name for field in dataclasses.fields(Slotted)] == ["a", "c"]
    assert Slotted(1).c == 1
    assert Base(3).a == 3


def test_fields_of_a_class_without_instances():
    """completed() makes it a dataclass, so that its fields can be listed."""

    @dataclass
    class Entry:
        name: str
        size: int = 0

    assert [field.name for field in dataclasses.fields(completed(Entry))] == ["name", "size"]
    assert Entry("a") == Entry("a", 0)


def test_a_class_with_a_new_of_its_own_is_completed_at_once():
    """What makes its instances in another way is left as it is."""

    @dataclass
    class Odd(int):
        pass

    assert dataclasses.is_dataclass(Odd)


def test_every_class_of_maintd_can_be_completed():
    """No declaration is wrong, which only the run that makes the first instance would see; and all are put off."""
    for module in pkgutil.walk_packages(maintd.__path__, "maintd."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for kind in tuple(values._pending):
        assert dataclasses.is_dataclass(completed(kind)), kind
    sources = {path: path.read_text() for path in Path(maintd.__path__[0]).rglob("*.py") if path.name != "values.py"}
    assert not [
        path
        for path, text in sources.items()
        if re.search(r"^from dataclasses import .*\bdataclass\b", text, re.MULTILINE)
    ]


def test_many_threads_make_the_first_instance_at_once():
    """Whichever thread is first, each of them gets a whole instance."""
    for _ in range(50):

        @dataclass(frozen=True)
        class Value:
            a: int
            b: int = 1

        gate, made = threading.Barrier(8), []

        def make(kind=Value, gate=gate, made=made):
            gate.wait()
            made.append(kind(1))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [Value(1)] * 8
