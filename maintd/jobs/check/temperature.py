"""The kind `check.temperature`: the warmest sensor of the machine, where there is one."""

import contextlib
import glob  # noqa: TID251 - sysfs, whose names nobody can make
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import ClassVar

from pydantic import Field

from maintd.check import CannotTell, Check, Number
from maintd.job import Context
from maintd.readings import Sign, above

_PLACES = ("/sys/class/thermal/thermal_zone*/temp", "/sys/class/hwmon/hwmon*/temp*_input")
_NO_SENSOR = 200
"""Degrees that nothing which runs has: 255 °C is what an input reads to which no sensor is connected."""


class CheckTemperature(Check):
    """Reads every sensor that the kernel knows, and judges the warmest. Most virtual machines have none."""

    kind: ClassVar[str] = "check.temperature"

    exclude: tuple[str, ...] = Field(
        default=(), description='sensors that are left alone, by patterns of the names that it tells: "nct6775 *"'
    )
    degraded_celsius: Number | None = Field(default=80.0, description="so warm is degraded")
    down_celsius: Number | None = Field(default=95.0, description="and so warm is down")

    @property
    def target(self) -> str:
        return "temperature"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        known = [(celsius, name) for celsius, name in _sensors() if not self._is_excluded(name)]
        if not known:
            raise CannotTell("this machine has no sensor of temperature", hint="take this check out: enabled = false")
        warmest, name = max(known)
        yield above(warmest, (self.degraded_celsius, self.down_celsius), f"{warmest:.0f} °C at {name}, the warmest")

    def _is_excluded(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


def _sensors() -> Iterator[tuple[float, str]]:
    """Each sensor that is connected, in °C, and its name: that of its chip, and which of that chip's it is."""
    for pattern in _PLACES:
        for path in glob.glob(pattern):
            with contextlib.suppress(OSError, ValueError):
                celsius = int(_read(path)) / 1000
                if abs(celsius) < _NO_SENSOR:
                    yield celsius, _name(path)


def _name(path: str) -> str:
    folder, file = os.path.split(path)
    if file == "temp":
        return _read(f"{folder}/type") or os.path.basename(folder)
    label = _read(path.removesuffix("_input") + "_label") or file.removesuffix("_input")
    return f"{_read(f'{folder}/name') or os.path.basename(folder)} {label}"


def _read(path: str) -> str:
    """What a file of sysfs says, or nothing if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
