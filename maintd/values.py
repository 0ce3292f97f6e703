"""`dataclass`, put off: a class becomes the dataclass that it is to be when the first instance of it is made.

The standard library writes and compiles the methods of a class when it is declared, in 0.8 ms. maintd has more than
four hundred such classes and uses a fraction of them in each run: put off, every command starts 40 to 60 ms earlier.
"""

import dataclasses
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
                dataclasses.dataclass(**options)(each)
                each.__new__ = staticmethod(_further)
                del _pending[each]  # the last thing: another thread that finds it gone makes an instance at once
    return cls


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
