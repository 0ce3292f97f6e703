"""logrotate's stanzas as tables of maintd's own config: exact, or saying in comments what cannot be said there."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence

from maintd.logrotate.as_patterns import as_pattern
from maintd.logrotate.due import interval
from maintd.logrotate.stanza import EACH_WEEK, Criteria, Make, Options, Stanza
from maintd.names import printable

_SUPERVISOR = re.compile(r"kill\s+-(?:s\s*)?(?:SIG)?USR2\b[^\n;&|]*supervisord", re.IGNORECASE)
_KILL = re.compile(
    r"""\s*(?:\[\s+!?\s*-f\s+\S+\s+\]\s*(?:&&|\|\|)\s*)?(?:/bin/)?kill\s+-(?:s\s*)?(?:SIG)?(?P<name>[A-Z]+[12]?|1|10|12)\s+
    [`"$(]+\s*(?:cat\s+)?(?P<pidfile>/[\w./-]+)\s*(?:2>/dev/null)?\s*[`")]+\s*(?:2>\s*/dev/null)?\s*(?:\|\|\s*(?:true|:))?\s*""",
    re.VERBOSE,
)
_SIGNALS = {"1": "HUP", "10": "USR1", "12": "USR2"}
_ENDING = ("KILL", "STOP", "TERM", "QUIT", "INT", "ABRT")
_GZIP = ("/bin/gzip", "/usr/bin/gzip", "gzip")
_ZSTD = ("/bin/zstd", "/usr/bin/zstd", "zstd")
_MOMENTS = {
    "firstaction": ["# firstaction: before is told no names of logs, and is run for each trigger that rotates some"],
    "lastaction": ["# lastaction: after is told no names of logs, and may be run before archives are compressed"],
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def tables(stanzas: Sequence[Stanza]) -> Iterator[str]:
    """The lines of a config with a job for each stanza, named after its first log; those of before claim their logs."""
    taken: set[str] = set()
    for stanza in stanzas:
        yield from _table(stanza, _name(stanza, taken))


def _name(stanza: Stanza, taken: set[str]) -> str:
    """A name that no other table has: of the file that the stanza is in, or of its first log."""
    first = os.path.splitext(os.path.basename(stanza.patterns[0]))[0] if stanza.patterns else ""
    words = [re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") for text in (first, os.path.basename(stanza.file))]
    name = next((word for word in words if word and word not in taken), next(filter(None, words), "stanza"))
    count, free = 1, name
    while free in taken:
        count += 1
        free = f"{name}-{count}"
    taken.add(free)
    return free


def _table(stanza: Stanza, name: str) -> Iterator[str]:
    options = stanza.options
    yield f"# {_said(stanza.file)}:{stanza.line} {_said(' '.join(stanza.text.split()))}"
    paths = [pattern for pattern in map(as_pattern, stanza.patterns) if pattern is not None]
    unsaid = [f"{_said(one)} is no absolute path" for one in stanza.patterns if as_pattern(one) is None]
    lines = [f"paths = [{', '.join(map(_text, paths))}]"]
    for part in (_when(options.criteria), _kept(options), _made(options), _compressed(options), _told(stanza)):
        for line in part:
            (unsaid if line.startswith("#") else lines).append(line.removeprefix("# "))
    unsaid += _unsaid(options)
    yield from (f"#   not the same: {why}" for why in unsaid)
    if options.su:
        yield "#   su is not needed: in directories of one user maintd works as that user"
    begin = "" if paths else "# "
    yield f"{begin}[rotate.{name}]"
    yield from (begin + line for line in lines)
    yield ""


def _when(criteria: Criteria) -> Iterator[str]:
    """cron, every, max_size and min_size; a line that begins with # says what is not expressed."""
    crons = {
        "hourly": "0 * * * *",
        "daily": "0 0 * * *",
        "weekly": f"0 0 * * {_DAYS[criteria.weekday % 7]}",
        "monthly": f"0 0 {criteria.monthday or 1} * *",
        "yearly": "0 0 1 1 *",
    }
    sizes = [criteria.size] if criteria.kind == "size" else []
    sizes += [criteria.maxsize] if criteria.maxsize else []
    limit = min(sizes, default=0)
    if criteria.kind == "minutes":
        yield f'every = "{max(criteria.minutes, 1)}m"'
    elif criteria.kind == "weekly" and criteria.weekday == EACH_WEEK:
        yield 'every = "7d"'
    elif criteria.kind != "size":
        yield f'cron = "{crons[criteria.kind]}"'
    elif not limit:
        yield 'cron = "0 0 * * *"'
        yield "# size 0 rotates at each run; here that is daily"
    if criteria.kind == "monthly" and (criteria.monthday or 1) > 28:
        yield f"# {interval(criteria)} is the last day of a shorter month; cron leaves such a month out"
    if limit:
        yield f"max_size = {limit}"
    if criteria.minsize and limit and criteria.minsize > limit:
        yield f"# minsize {criteria.minsize} does not hold for what maxsize rotates; here it would"
    elif criteria.minsize:
        yield f"min_size = {criteria.minsize}"
    if criteria.minage:
        yield "# minage goes by when the log was last changed; min_age by when it was last rotated"


def _kept(options: Options) -> Iterator[str]:
    if options.rotate > 0:
        yield f"keep = {options.rotate}"
    elif options.rotate == 0:
        yield "keep = 1"
        yield "# rotate 0 keeps no archive; maintd always keeps the newest"
    if options.criteria.maxage:
        yield f'max_age = "{options.criteria.maxage}d"'
        if options.rotate > 0:
            yield "# of rotate and maxage either lets an archive go; here keep keeps what is older than max_age"
    if options.ifempty:
        yield "skip_empty = false"


def _made(options: Options) -> Iterator[str]:
    if options.olddir:
        yield f"olddir = {_text(options.olddir)}"
    if options.olddir and options.createolddir and options.createolddir != Make():
        yield "# the owner and mode that createolddir gives; here they are those of the log's directory"
    if options.copytruncate:
        yield 'reopen = "collapse"'
        return
    if options.create is None:
        yield "create = false"
        return
    made = options.create
    if made.mode is not None:
        yield f'mode = "{made.mode & 0o7777:04o}"'
    if made.uid is not None:
        yield f"owner = {made.uid}"
    if made.gid is not None:
        yield f"group = {made.gid}"


def _compressed(options: Options) -> Iterator[str]:
    if not options.compress:
        yield 'compress = "none"'
        return
    codec = "gzip" if options.compresscmd in _GZIP else "zstd" if options.compresscmd in _ZSTD else ""
    if not codec:
        yield 'compress = "zstd"'
        yield f"# compresscmd {_said(options.compresscmd)}; here zstd"
        return
    yield f'compress = "{codec}"'
    levels = [int(one[1:]) for one in options.compressoptions if re.fullmatch(r"-\d{1,2}", one)]
    if levels and 1 <= levels[-1] <= (9 if codec == "gzip" else 19):
        yield f"level = {levels[-1]}"
    others = [one for one in options.compressoptions if not re.fullmatch(r"-\d{1,2}", one)]
    if others:
        yield f"# compressoptions {_said(' '.join(others))}"
    if options.delaycompress:
        yield "# delaycompress: here an archive is compressed as soon as nobody writes it"


def _told(stanza: Stanza) -> Iterator[str]:
    """How the writers are told, and the commands around."""
    scripts, is_copied = stanza.scripts, stanza.options.copytruncate or stanza.options.copy
    for name, text in scripts.items():
        words = " ".join(text.split())
        found = _KILL.fullmatch(text)
        signal = _SIGNALS.get(found["name"], found["name"]) if found else ""
        if name == "postrotate" and not is_copied and _SUPERVISOR.search(text):
            yield 'reopen = "supervisor"'
        elif name == "postrotate" and not is_copied and found and signal not in _ENDING:
            yield f'signal = {{ name = "{signal}", pidfile = {_text(found["pidfile"])} }}'
        elif name == "preremove":
            yield f"# preremove {_said(words)}: there is no such command"
        elif _uses_arguments(text):
            yield f"# {name} {_said(words)}: commands get no names of logs"
        elif name == "postrotate" and not is_copied:
            yield f"command = {_shell(text)}"
            yield "# postrotate: a command is run while somebody has the log open, to be told; after = [...] always is"
        elif name in ("firstaction", "prerotate") and not {"firstaction", "prerotate"} <= scripts.keys():
            yield f"before = {_shell(text)}"
            yield from _MOMENTS.get(name, ())
        elif name in ("lastaction", "postrotate") and not {"lastaction", "postrotate"} <= scripts.keys():
            yield f"after = {_shell(text)}"
            yield from _MOMENTS.get(name, ())
        else:
            yield f"# {name} {_said(words)}: there is one command before and one after"
    is_one = len(stanza.patterns) == 1 and not re.search(r"[*?\[]", stanza.patterns[0])
    if scripts and not stanza.options.sharedscripts and not is_one:
        yield "# without sharedscripts scripts run for each log; commands run once for all that are rotated"


def _unsaid(options: Options) -> Iterator[str]:
    """Directives that a rotate job has nothing for."""
    yield from (
        ["copy leaves the log as it is; a rotate job always takes out what it archives"] if options.copy else []
    )
    yield from (["renamecopy: an olddir on another file system is not possible"] if options.renamecopy else [])
    yield from ([f"mail to {_said(options.mail)}"] if options.mail else [])
    yield from (["shred: archives are deleted, not overwritten"] if options.shred else [])
    yield from (["allowhardlink: logs with several names are refused"] if options.allowhardlink else [])
    yield from (["extension or addextension"] if options.extension or options.addextension else [])
    yield from _misnamed(options)


def _misnamed(options: Options) -> Iterator[str]:
    """What is said of archives' names, which have the UTC time of their rotation in them."""
    if options.start != 1:
        yield f"start {options.start}: archives have a time in their names, and no numbers"
    if options.dateformat is not None:
        yield f"dateformat {_said(options.dateformat)} cannot be said: archives have a UTC time in their names"
    for name in ("dateyesterday", "datehourago"):
        if getattr(options, name):
            yield f"{name} cannot be said: archives are called by when they were made"


def _uses_arguments(text: str) -> bool:
    return bool(re.search(r"\$(?:[1-9@*]|\{[1-9@*])", text))


def _shell(text: str) -> str:
    """The argv of a script; one that needs no shell is without it."""
    plain = text.strip()
    words = shlex.split(plain) if re.fullmatch(r"[\w./ =:@%+,-]+", plain) else []
    argv = words if words and words[0].startswith("/") else ["/bin/sh", "-c", plain]
    return f"[{', '.join(map(_text, argv))}]"


def _text(value: str) -> str:
    """A string of TOML; JSON's escapes are TOML's too, but for surrogates, which no TOML can hold."""
    return json.dumps(value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")).replace("\x7f", "\\u007f")


def _said(text: str) -> str:
    return printable(text)
