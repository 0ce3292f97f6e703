"""Writes docs/man/*.1, a manual page for the program and for each verb, from the text of --help.

`make man` runs it; a test keeps the pages current, and the wheel carries them to share/man/man1 of its environment.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from maintd import __version__
from maintd.cli import cli

PAGES = Path(__file__).with_name("man")
SECTIONS = {
    "Exit codes": "EXIT STATUS",
    "Environment": "ENVIRONMENT",
    "Files": "FILES",
    "Example": "EXAMPLES",
    "Examples": "EXAMPLES",
}
"""The headings of epilogs, and what man-pages(7) calls them, in its order."""
_ESCAPES = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "~": r"\(ti", "^": r"\(ha"})


def pages() -> dict[str, str]:
    """Each page by the name of its file."""
    top = click.Context(cli, info_name="maintd", **cli.context_settings)
    return {f"{ctx.command_path.replace(' ', '-')}.1": "\n".join(page(ctx)) + "\n" for ctx in below(top)}


def below(ctx: click.Context) -> Iterator[click.Context]:
    """A command and, if it has any, those below it."""
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name, command in ctx.command.commands.items():
            yield from below(click.Context(command, ctx, name))


def page(ctx: click.Context) -> Iterator[str]:
    """The lines of one page. How a program ends, and what it looks at, is said on the page of each verb too."""
    command, name = ctx.command, ctx.command_path.replace(" ", "-")
    yield f'.TH "{escaped(name.upper())}" "1" "" "maintd {__version__}" "User Commands"'
    yield from (".SH NAME", rf"{escaped(name)} \- {escaped((command.short_help or '').rstrip('.'))}")
    yield from (".SH SYNOPSIS", f".B {escaped(ctx.command_path)}")
    yield escaped(" ".join(command.collect_usage_pieces(ctx)))
    yield from (".SH DESCRIPTION", *prose(command.help or ""))
    yield from (".SH OPTIONS", *options(ctx))
    if isinstance(command, click.Group):
        yield from (".SH COMMANDS", *verbs(command, name))
    said = sections(ctx.find_root().command.epilog) | sections(command.epilog)
    for heading in dict.fromkeys(SECTIONS.values()):
        if heading in said:
            yield from (f".SH {heading}", *listing(said[heading]))
    if ctx.parent:
        yield from (".SH SEE ALSO", ".BR maintd (1)")


def escaped(text: str) -> str:
    """Text that roff shows as it is (groff_char(7))."""
    text = text.translate(_ESCAPES)
    return rf"\&{text}" if text.startswith((".", r"\(aq")) else text


def prose(text: str) -> Iterator[str]:
    """Paragraphs, as click separates them; what stands in backquotes is bold."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b\n"):
            yield from (".nf", *(escaped(line) for line in paragraph.splitlines()[1:]), ".fi")
        else:
            parts = re.split(r"`([^`]*)`", " ".join(paragraph.split()))
            yield "".join(rf"\fB{escaped(part)}\fP" if at % 2 else escaped(part) for at, part in enumerate(parts))


def options(ctx: click.Context) -> Iterator[str]:
    for parameter in ctx.command.get_params(ctx):
        record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if record:
            names = re.sub(r"(?<![\w-])(--?[\w-]+)", lambda found: rf"\fB{escaped(found[1])}\fP", record[0])
            yield from (".TP", names, escaped(record[1]))


def verbs(program: click.Group, name: str) -> Iterator[str]:
    for verb, command in program.commands.items():
        yield from (".TP", rf"\fB{escaped(f'{name}-{verb}')}\fP(1)", escaped(command.short_help or ""))


def sections(epilog: str | None) -> dict[str, list[str]]:
    """The lines of an epilog below each of its headings, by the heading's name in a manual page."""
    blocks = [block.strip("\b\n").splitlines() for block in inspect.cleandoc(epilog or "").split("\n\n")]
    return {SECTIONS[head.rstrip(":")]: lines for head, *lines in filter(None, blocks)}


def listing(lines: list[str]) -> Iterator[str]:
    """Lines of two columns as terms and what they mean, others as they are."""
    pairs = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines]
    if all(len(pair) == 2 for pair in pairs):
        for term, meaning in pairs:
            yield from (".TP", rf"\fB{escaped(term)}\fP", escaped(meaning))
    else:
        yield from (".nf", *(escaped(line.strip()) for line in lines), ".fi")


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    current = pages()
    for left in PAGES.glob("*.1"):
        if left.name not in current:
            left.unlink()
    for file, text in current.items():
        (PAGES / file).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{PAGES}: {len(current)} pages\n")
