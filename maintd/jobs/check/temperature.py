"""The kind `check.temperature`: the warmest sensor of the machine, where there is one."""

import contextlib
import glob  # noqa: TID251 - sysfs, whose names nobody can make
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from maintd.check import CannotTell, Check, Number
from maintd.job import Context
from maintd.readings import Sign, above

_PLACES = ("/sys/class/thermal/thermal_zone*/temp", "/sys/class/hwmon/hwmon*/temp*_input")


class CheckTemperature(Check):
    """Reads every sensor that the kernel knows, and judges the warmest. Most virtual machines have none."""

    kind: ClassVar[str] = "check.temperature"

    degraded_celsius: Number | None = Field(default=80.0, description="so warm is degraded")
    down_celsius: Number | None = Field(default=95.0, description="and so warm is down")

    @property
    def target(self) -> str:
        return "temperature"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        found = max(_celsius(), default=None)
        if found is None:
            raise CannotTell("this machine has no sensor of temperature", hint="take this check out: enabled = false")
        yield above(found, (self.degraded_celsius, self.down_celsius), f"{found:.0f} °C at the warmest sensor")


def _celsius() -> Iterator[float]:
    for pattern in _PLACES:
        for path in glob.glob(pattern):
            with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
                yield int(file.read()) / 1000
