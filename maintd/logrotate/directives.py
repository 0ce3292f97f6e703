"""What each of logrotate's directives does to the options that hold from there on."""

import os
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Any

from maintd.logrotate import arguments
from maintd.logrotate.stanza import SCRIPT_NAMES, Kind, Make, Options, ScriptName
from maintd.logrotate.syntax import Directive, Shape, words
from maintd.values import dataclass

_EXTENSIONS = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst", "zip": ".zip", "compress": ".Z"}
_ELSEWHERE = ("tabooext", "taboopat", "include", "errors")
"""Directives that are about files or nothing; what they do stands in blocks.py and sources.py."""
_REMEMBERED = ("create", "createolddir", "su")


@dataclass(frozen=True)
class Scope:
    """What holds at one place of a file: outside of stanzas for all that follow, or within one.

    `kind` is the keyword that has set the criterion in this scope, if one has. `given` is what create, createolddir and
    su were told last: each takes from there what it is not told, even after nocreate.
    """

    options: Options = field(default_factory=Options)
    scripts: Mapping[ScriptName, str] = field(default_factory=dict)
    kind: str = ""
    given: Mapping[str, Make] = field(default_factory=dict)


class Ignored(ValueError):
    """A directive that is passed over without its argument, with a message and nothing else."""


Apply = Callable[[Options, str], Options]


def shape(keyword: str) -> Shape | None:
    """How a keyword is written, None for one that there is not."""
    if keyword in SCRIPT_NAMES:
        return "script"
    if keyword in _ELSEWHERE or keyword in _REMEMBERED:
        return "value"
    found = _TABLE.get(keyword)
    return found[0] if found else None


def apply(directive: Directive, scope: Scope) -> tuple[Scope, str]:
    """The scope after a directive, and a note about what that overrides or "". Raises arguments.Wrong, and Ignored."""
    keyword, value = directive.keyword, directive.value
    if keyword in SCRIPT_NAMES:
        return replace(scope, scripts={**scope.scripts, keyword: value}), ""
    if keyword in _REMEMBERED:
        return _with_users(keyword, value, scope), ""
    needed, change = _TABLE[keyword]
    if needed == "value" and not value and keyword != "weekly":
        raise (Ignored if keyword in _HARMLESS else arguments.Wrong)(f"argument expected after {keyword}")
    options = change(scope.options, value)
    if keyword not in _KINDS:
        return replace(scope, options=options), ""
    note = f"'{keyword}' overrides previously specified '{scope.kind}'" if scope.kind not in ("", keyword) else ""
    return replace(scope, options=options, kind=keyword), note


def _with_users(keyword: str, value: str, scope: Scope) -> Scope:
    before = scope.given.get(keyword, Make())
    if keyword == "su":
        su = arguments.su(value, before)
        made, options = Make(None, su.uid, su.gid), replace(scope.options, su=su)
    else:
        made = arguments.make(keyword, value, before)
        changes: dict[str, Any] = {keyword: made}
        options = replace(scope.options, **changes)
    return replace(scope, options=options, given={**scope.given, keyword: made})


def _is(**changes: Any) -> tuple[Shape, Apply]:
    return "flag", lambda options, _: replace(options, **changes)


def _to(name: str, read: Callable[[str], Any]) -> tuple[Shape, Apply]:
    return "value", lambda options, value: replace(options, **{name: read(value)})


def _criteria(name: str, read: Callable[[str], Any]) -> tuple[Shape, Apply]:
    return "value", lambda options, value: _with(options, **{name: read(value)})


def _kind(kind: Kind) -> tuple[Shape, Apply]:
    return "flag", lambda options, _: _with(options, kind=kind)


def _kind_of(kind: Kind, name: str, needed: Shape, read: Callable[[str], Any]) -> tuple[Shape, Apply]:
    return needed, lambda options, value: _with(options, kind=kind, **{name: read(value)})


def _with(options: Options, **criteria: Any) -> Options:
    return replace(options, criteria=replace(options.criteria, **criteria))


def _compresscmd(options: Options, value: str) -> Options:
    command = arguments.path("compress path")(value)
    return replace(
        options, compresscmd=command, compressext=_EXTENSIONS.get(os.path.basename(command), options.compressext)
    )


_TABLE: Mapping[str, tuple[Shape, Apply]] = {
    "minutes": _kind_of("minutes", "minutes", "value", arguments.count("minutes", 1)),
    "hourly": _kind("hourly"),
    "daily": _kind("daily"),
    "weekly": _kind_of("weekly", "weekday", "value", arguments.weekday),
    "monthly": _kind_of("monthly", "monthday", "number", arguments.monthday),
    "yearly": _kind("yearly"),
    "size": _kind_of("size", "size", "value", arguments.size),
    "minsize": _criteria("minsize", arguments.size),
    "maxsize": _criteria("maxsize", arguments.size),
    "minage": _criteria("minage", arguments.count("minimum age")),
    "maxage": _criteria("maxage", arguments.count("maximum age")),
    "rotate": _to("rotate", arguments.count("rotation count", -1)),
    "start": _to("start", arguments.count("start count")),
    "olddir": _to("olddir", lambda value: arguments.at_home(arguments.path("olddir path")(value))),
    "noolddir": _is(olddir=None),
    "nocreateolddir": _is(createolddir=None),
    "missingok": _is(missingok=True),
    "nomissingok": _is(missingok=False),
    "ifempty": _is(ifempty=True),
    "notifempty": _is(ifempty=False),
    "ignoreduplicates": _is(ignoreduplicates=True),
    "allowhardlink": _is(allowhardlink=True),
    "noallowhardlink": _is(allowhardlink=False),
    "nocreate": _is(create=None),
    "copy": _is(copy=True),
    "nocopy": _is(copy=False),
    "copytruncate": _is(copytruncate=True, renamecopy=False),
    "nocopytruncate": _is(copytruncate=False),
    "renamecopy": _is(renamecopy=True, copytruncate=False),
    "norenamecopy": _is(renamecopy=False),
    "shred": _is(shred=True),
    "noshred": _is(shred=False),
    "shredcycles": _to("shredcycles", arguments.count("shred cycles")),
    "compress": _is(compress=True),
    "nocompress": _is(compress=False),
    "delaycompress": _is(delaycompress=True),
    "nodelaycompress": _is(delaycompress=False),
    "compresscmd": ("value", _compresscmd),
    "uncompresscmd": _to("uncompresscmd", arguments.path("uncompress path")),
    "compressext": _to("compressext", arguments.path("compress-ext path")),
    "compressoptions": _to("compressoptions", words),
    "extension": _to("extension", str),
    "addextension": _to("addextension", str),
    "dateext": _is(dateext=True),
    "nodateext": _is(dateext=False),
    "dateformat": _to("dateformat", str),
    "dateyesterday": _is(dateyesterday=True),
    "nodateyesterday": _is(dateyesterday=False),
    "datehourago": _is(datehourago=True),
    "nodatehourago": _is(datehourago=False),
    "mail": _to("mail", arguments.path("mail address")),
    "nomail": _is(mail=None),
    "mailfirst": _is(mailfirst=True),
    "maillast": _is(mailfirst=False),
    "sharedscripts": _is(sharedscripts=True),
    "nosharedscripts": _is(sharedscripts=False),
}
KEYWORDS = (*_TABLE, *_REMEMBERED, *_ELSEWHERE)
"""All of them but those of scripts."""
_KINDS = ("minutes", "hourly", "daily", "weekly", "monthly", "yearly", "size")
_HARMLESS = ("size", "minsize", "maxsize", "dateformat")
"""Keywords that logrotate passes over without their argument, instead of refusing the stanza."""
