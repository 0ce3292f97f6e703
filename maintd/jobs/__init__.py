"""The kinds of job: one file each, found by scanning this package. Nothing lists them; none imports another.

The path of the file is the name of the kind: `jobs/rotate.py` is `rotate`, `jobs/check/http.py` is `check.http`.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache

from maintd.job import Job


@cache
def kinds() -> tuple[str, ...]:
    """The names of all kinds, sorted. No kind is imported for it."""
    return tuple(sorted(_below(__path__, "")))


@cache
def kind(name: str) -> type[Job]:
    """The Job class of a kind. Raises KeyError if there is no such kind, TypeError if its file breaks the rules."""
    if name not in kinds():
        raise KeyError(name)
    module = importlib.import_module(f"{__name__}.{name}")
    found: list[type[Job]] = [value for value in vars(module).values() if _is_kind(value, module.__name__)]
    if len(found) != 1 or found[0].kind != name:
        raise TypeError(f"{module.__name__} must define exactly one Job, and its `kind` must be {name!r}")
    return found[0]


def _is_kind(value: object, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, Job) and value.__module__ == module and "kind" in vars(value)


def _below(path: Iterable[str], prefix: str) -> Iterator[str]:
    folders = list(path)
    for found in pkgutil.iter_modules(folders):
        if found.name.startswith("_"):
            continue
        if found.ispkg:
            yield from _below([f"{folder}/{found.name}" for folder in folders], f"{prefix}{found.name}.")
        else:
            yield prefix + found.name
