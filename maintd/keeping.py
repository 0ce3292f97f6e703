"""Which files stay, as the options of a job say it: the same for `expire`, for archives, and in part for `rotate`."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from maintd import dates, retention
from maintd.job import Context, Count, Limit, Share, Span
from maintd.retention import Generation, Verdict
from maintd.rules import Options, rule


class Periods(Options):
    """How many hours, days, weeks, months and years keep their newest."""

    keep_hourly: Count | None = Field(default=None, description="of so many hours the newest stays")
    keep_daily: Count | None = Field(default=None, description="of so many days the newest stays")
    keep_weekly: Count | None = Field(default=None, description="of so many weeks the newest stays")
    keep_monthly: Count | None = Field(default=None, description="of so many months the newest stays")
    keep_yearly: Count | None = Field(default=None, description="of so many years the newest stays")


class Keeping(Periods):
    """The rules by which files stay or go. Without any but `keep_within`, all stay."""

    per: Literal["directory", "log"] = Field(
        default="directory", description="what keep_*, max_count and the newest are counted in"
    )
    keep_last: Count | None = Field(default=None, description="how many of the newest stay")
    keep_within: Span | None = Field(default=None, description="files younger than this always stay")
    max_age: Span | None = Field(default=None, description="files older than this go")
    max_count: Count | None = Field(default=None, description="the oldest go while more than so many are kept")
    max_total: Limit | None = Field(default=None, description="the oldest go while all files of the job take more")
    max_share: Share = Field(default=0.5, description="at most this share of all files goes in one run")

    def retention(self) -> retention.Policy:
        return retention.Policy(
            keep_last=self.keep_last,
            keep_within=self.keep_within,
            max_age=self.max_age,
            max_total=self.max_total,
            keep_hourly=self.keep_hourly,
            keep_daily=self.keep_daily,
            keep_weekly=self.keep_weekly,
            keep_monthly=self.keep_monthly,
            keep_yearly=self.keep_yearly,
            max_count=self.max_count,
        )

    @rule("keep_within")
    def _within_is_not_alone(self) -> str:
        is_alone = self.keep_within is not None and self.retention().is_empty
        return "keep_within only adds to other rules: alone it would delete nothing" if is_alone else ""

    @property
    def share_said(self) -> str:
        return f"{100 * self.max_share:.10g}%"

    def verdicts(
        self, found: Iterable[tuple[str, Generation]], ctx: Context, is_open: Callable[[str], bool]
    ) -> list[Verdict]:
        """What becomes of each, given with its group; whether it is open is asked only of those that would go."""
        policy = self.retention().ageless() if ctx.clock_jumped else self.retention()
        groups: dict[str, dict[str, Generation]] = defaultdict(dict)
        group_of: dict[str, str] = {}
        for group, generation in found:
            groups[group][generation.path] = generation
            group_of[generation.path] = group
        asked: set[str] = set()
        while True:
            verdicts = retention.decide({name: own.values() for name, own in groups.items()}, policy, ctx.now, ctx.zone)
            unasked = [v.generation.path for v in verdicts if not v.kept and v.generation.path not in asked]
            held = [path for path in unasked if is_open(path)]
            if not held:
                return retention.within_share(verdicts, self.max_share, ctx.given_up.get(ctx.job, 0))
            asked.update(unasked)
            for path in held:
                own = groups[group_of[path]]
                own[path] = replace(own[path], held=True)

    def group(self, path: str) -> str:
        """What a file is counted in: its directory, or its log."""
        directory, name = os.path.split(path)
        return directory if self.per == "directory" else os.path.join(directory, dates.log_of(name))

    def left(self, verdicts: Iterable[Verdict]) -> Iterator[int]:
        """The bytes of each file that is left to a later run."""
        return (verdict.generation.size for verdict in verdicts if verdict.is_left)
