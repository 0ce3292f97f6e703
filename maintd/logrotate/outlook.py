"""What a stanza will do, in words, for `maintd check`."""

from collections.abc import Iterable, Iterator

from maintd.logrotate.due import interval
from maintd.logrotate.stanza import Criteria, Options, Stanza
from maintd.names import printable
from maintd.units import counted, format_size


def lines(stanza: Stanza, count: int) -> Iterator[str]:
    """What a stanza will do, in two lines; `count` is how many logs it has now."""
    options, criteria = stanza.options, stanza.options.criteria
    names = " ".join(stanza.text.split())
    yield printable(f"{stanza.file}:{stanza.line} {names}: {counted(count, 'log')}, {', '.join(_when(criteria))}")
    yield printable("    " + "; ".join(_how(options, stanza.scripts)))


def _when(criteria: Criteria) -> Iterator[str]:
    yield f"from {format_size(criteria.size)} on" if criteria.kind == "size" else interval(criteria)
    if criteria.maxsize:
        yield f"or larger than {format_size(criteria.maxsize)}"
    if criteria.minsize:
        yield f"if it has {format_size(criteria.minsize)}"
    if criteria.minage:
        yield f"if it was not changed for {criteria.minage} days"


def _how(options: Options, scripts: Iterable[str]) -> Iterator[str]:
    if options.copytruncate or options.copy:
        yield "copied, and cut" if options.copytruncate else "copied"
    elif options.create is None:
        yield "renamed, and no new log made"
    else:
        mode = "" if options.create.mode is None else f" ({options.create.mode:04o})"
        yield f"renamed, and a new log made{mode}"
    if options.compress:
        yield f"compressed by {options.compresscmd}" + (" one rotation later" if options.delaycompress else "")
    yield f"archives {'by date' if options.dateext else 'by number'}, {kept(options)}"
    if options.criteria.maxage:
        yield f"none older than {options.criteria.maxage} days"
    if options.olddir:
        yield f"in {options.olddir}"
    if options.mail:
        yield f"mailed to {options.mail}"
    if options.su:
        yield f"as uid {options.su.uid}"
    if scripts := list(scripts):
        yield f"scripts: {', '.join(scripts)}"


def kept(options: Options) -> str:
    special = {-1: "all archives are kept", 0: "no archive is kept"}
    return special.get(options.rotate, f"{counted(options.rotate, 'archive')} kept")
