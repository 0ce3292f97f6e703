"""`maintd logs`: a log over all its generations, as one stream."""

import itertools
import os
import re
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import datetime

import click

from maintd.cli import output, selecting, times
from maintd.cli.exits import Exit, usage
from maintd.cli.generations import Lineage
from maintd.cli.invocation import Invocation, config_option
from maintd.cli.search import found_in
from maintd.cli.sieve import Sieve, Sifted
from maintd.cli.tail import PAUSE, Opened, all_open, content, stream, tell
from maintd.names import printable
from maintd.values import dataclass


@dataclass(frozen=True)
class _Wanted:
    """What is to be shown of each log; without a `sieve` all of it."""

    since: datetime | None
    until: datetime | None
    sieve: Sieve | None
    follow: bool


def _complete(ctx: click.Context, argument: click.Parameter, begun: str) -> list[str]:
    from maintd.cli import naming  # noqa: PLC0415 - a path needs no config, which takes longer to load than to search

    return naming.complete(ctx, argument, begun)


@click.command(
    short_help="Read a log over all its generations.",
    epilog="\b\nExamples:\n  maintd logs services/api --since 2h\n"
    "  maintd logs services/api --grep 'timeout|refused' | less\n"
    "  maintd logs /srv/app/logs/api.log -f\n  maintd logs rotate.services --since 7d --until 6d --grep ERROR",
)
@click.argument("names", nargs=-1, required=True, metavar="LOG...", shell_complete=_complete)
@click.option("--since", metavar="WHEN", help="Without generations that are older (2h, 7d, or 2026-11-24T00:00:00Z).")
@click.option("--until", metavar="WHEN", help="Without generations that begin later.")
@click.option("--grep", "pattern", metavar="REGEX", help="Only lines that match it somewhere (Python's re, on bytes).")
@click.option("-f", "--follow", is_flag=True, help="Go on as the logs grow and are rotated.")
@click.option("-q", "--quiet", is_flag=True, help="Of several logs, print no line that says which one follows.")
@config_option()
@click.pass_obj
def logs(called: Invocation, /, names: tuple[str, ...], *, follow: bool, quiet: bool, **only: str | None) -> int:
    """Prints logs byte for byte, each from its oldest generation to its live file: what maintd set aside, compressed
    or not, also in an olddir, an archive or an object store, and FILE.1, FILE.2 and so on of supervisord or logrotate.
    Nothing is unpacked to disk.

    A LOG is a path; or a job, for all its logs; or the end of a path, with or without .log, such as api; or a job and a
    log, such as services/api. Whole generations are left out by --since and --until, not lines.

    With --grep it ends with 3 if nothing matches.
    """
    if follow and only["until"]:
        raise usage("--follow never ends, so --until says nothing with it")
    since, until = (times.given(only[key], called.now) for key in ("since", "until"))
    wanted = _Wanted(since, until, _sieve(only["pattern"]), follow)
    lineages = selecting.lineages(called, names)
    show = _Show(headed=len(lineages) > 1 and not quiet)
    with ExitStack() as stack:
        streams = {lineage: stack.enter_context(closing(_read(lineage, wanted, stack))) for lineage in lineages}
        if follow and len(streams) > 1:
            _in_turns(streams, show)
        else:
            for lineage, chunks in streams.items():
                _at_once(lineage, chunks, show)
    return Exit.NO if wanted.sieve and not show.has_shown and not output.is_lost() else Exit.OK


def _sieve(pattern: str | None) -> Sieve | None:
    try:
        return None if pattern is None else Sieve(pattern)
    except re.error as error:
        raise usage(f"--grep {pattern!r} is no regular expression: {error}") from None


class _Show:
    """Writes what is found; where several logs are shown, with the path above each as tail(1) does."""

    def __init__(self, *, headed: bool) -> None:
        self._headed = headed
        self._last: Lineage | None = None
        self.has_shown = False

    def __call__(self, lineage: Lineage, chunk: bytes) -> bool:
        """Whether stdout takes more."""
        if self._headed and lineage != self._last:
            gap = "\n" if self.has_shown else ""
            output.write(f"{gap}==> {printable(lineage.path)} <==\n".encode())
            self._last = lineage
        self.has_shown = True
        output.write(chunk)
        return not output.is_closed()


def _at_once(lineage: Lineage, chunks: Iterator[bytes], show: _Show) -> None:
    for chunk in chunks:
        if not chunk:
            time.sleep(PAUSE)
        elif not show(lineage, chunk):
            return


def _in_turns(streams: Mapping[Lineage, Iterator[bytes]], show: _Show) -> None:
    """Several logs that are followed: each as far as it goes just now."""
    while True:
        for lineage, chunks in streams.items():
            for chunk in itertools.takewhile(bool, chunks):
                if not show(lineage, chunk):
                    return
        time.sleep(PAUSE)


def _read(lineage: Lineage, wanted: _Wanted, stack: ExitStack) -> Generator[bytes]:
    """What is wanted of one log. Followed, it never ends, and an empty chunk says that there is no more just now.

    Compressed generations at the beginning are looked through side by side; from the first other one on, a log that is
    followed is read one generation after the other, as its writers leave them.
    """
    for why in () if wanted.follow and wanted.since is None else lineage.unread():
        output.lose(f"maintd: what may be archived of {printable(lineage.path)} is not shown: {why}")
    opened = _opened(lineage, wanted, stack)
    count = len(list(itertools.takewhile(lambda one: one[0].codec, opened)))
    count -= wanted.follow and count == len(opened)
    sifted = Sifted(wanted.sieve) if wanted.sieve else None
    if wanted.sieve and sifted:
        for found in found_in(opened[:count], wanted.sieve):
            yield from filter(None, (found.lines, sifted.feed(found.text), sifted.torn() if found.is_torn else b""))
    rest = opened[count if sifted else 0 :]
    for chunk in _followed(lineage, rest) if wanted.follow else _contents(rest):
        shown = sifted.feed(chunk) if sifted else chunk
        if shown or not chunk:
            yield shown
    if sifted and (last := sifted.rest()):
        yield last


def _opened(lineage: Lineage, wanted: _Wanted, stack: ExitStack) -> list[Opened]:
    """The generations that are wanted, open. -f alone begins with the live file; if that is too old, at its end."""
    if not wanted.follow:
        return all_open(lineage, wanted.since, wanted.until, stack)
    opened = all_open(lineage, wanted.since, None, stack)
    if wanted.since is None:
        return opened[-1:]
    if not opened:
        opened = all_open(lineage, None, None, stack)[-1:]
        for _, file in opened:
            file.seek(0, os.SEEK_END)
    return opened


def _contents(opened: list[Opened]) -> Iterator[bytes]:
    last = b"\n"
    for held, file in opened:
        try:
            for chunk in filter(None, content(held, file)):
                last = chunk
                yield chunk
        except OSError as error:
            tell(held, error)
            if not last.endswith(b"\n"):
                yield b"\n"


def _followed(lineage: Lineage, opened: list[Opened]) -> Iterator[bytes]:
    """From the first of these generations on, one after the other, as they are left by their writers."""
    if opened:
        for chunks in stream(lineage, opened[0], follow=True):
            yield from chunks
