"""Where every setting comes from: each option of a config with its effective value and the line that gave it."""

import json
from collections.abc import Iterator
from typing import Any

from maintd.complaints import dotted
from maintd.config import Config
from maintd.rules import Options

_WIDTH = 48


def show(config: Config) -> Iterator[str]:
    """The whole config as lines of TOML, each with `file:line` or `default`. No secret: the config holds none."""
    tables: dict[str, Options] = {"daemon": config.settings, "supervisor": config.supervisor, **config.jobs}
    for number, (name, table) in enumerate(tables.items()):
        if number:
            yield ""
        place = config.places.get(name)
        yield _with_origin(f"[{name}]", str(place) if place else "default")
        values = table.model_dump(mode="json", warnings=False)
        for option in type(table).model_fields:
            given = config.places.get(f"{name}.{option}")
            yield _with_origin(_assignment(option, values[option]), str(given) if given else "default")


def _with_origin(text: str, origin: str) -> str:
    return f"{text:<{_WIDTH}}  # {origin}"


def _assignment(option: str, value: Any) -> str:
    return f"# {option} is not set" if value is None else f"{option} = {_toml(value)}"


def _toml(value: Any) -> str:
    """A value as TOML; of the scalars JSON writes the same."""
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{dotted((key,))} = {_toml(item)}" for key, item in value.items() if item is not None)
            + " }"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
