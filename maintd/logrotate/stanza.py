"""What logrotate's directives say of a set of logs, as plain values; every default is logrotate's own.

Text that comes out of a config file is str with surrogateescape, as paths are, so that any bytes survive.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from maintd.values import dataclass

Kind = Literal["minutes", "hourly", "daily", "weekly", "monthly", "yearly", "size"]
ScriptName = Literal["firstaction", "prerotate", "postrotate", "lastaction", "preremove"]
SCRIPT_NAMES: tuple[ScriptName, ...] = ("firstaction", "prerotate", "postrotate", "lastaction", "preremove")
Loss = Literal["nothing", "line", "log", "stanza", "file"]
"""What goes by a complaint: a line, a log of a stanza, a whole stanza, or a file (what follows in it)."""
EACH_WEEK = 7
"""The weekday that means: when seven days have passed, whatever day it is."""


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """When a log is due, and how old and large it must be for that.

    `kind` is set by the last of the directives minutes, hourly … yearly and size; only the number that goes with it
    counts. Without any of them a log is due by its size, of 1 MiB (seen with logrotate -d).
    """

    kind: Kind = "size"
    minutes: int = 0
    """For `minutes`: how many pass between rotations."""
    weekday: int = 0
    """For `weekly`: 0 is Sunday, 6 Saturday, EACH_WEEK seven days after the last."""
    monthday: int | None = None
    """For `monthly`: the day from 1 to 31, in a shorter month its last; None is the first run of a month."""
    size: int = 1024 * 1024
    """For `size`: bytes that are enough."""
    minsize: int = 0
    """Bytes that must be there besides (AND); 0 is no condition."""
    maxsize: int = 0
    """Bytes that are enough at any time (OR); 0 is no condition."""
    minage: int = 0
    """Days since the log was last changed that must have passed; 0 is no condition."""
    maxage: int = 0
    """Days after which an archive goes, looked at when the log is rotated; 0 keeps them."""


@dataclass(frozen=True)
class Make:
    """How a log or an olddir is made.

    None is, for a log, what the one that was rotated has; for an olddir it is 0755 (3.22; 3.21 takes 07777), and the
    user and group who rotate.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True)
class Su:
    """As whom logs are rotated."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every directive but the scripts comes to, for one stanza or, as its starting point, for all that follow."""

    criteria: Criteria = Criteria()
    rotate: int = 0
    """How many archives are kept; 0 none, -1 all."""
    start: int = 1
    """The number of the youngest archive."""
    olddir: str | None = None
    """Where archives go, relative to the directory of the log."""
    createolddir: Make | None = None
    """How an olddir that is missing is made; None is not at all."""
    su: Su | None = None

    missingok: bool = False
    ifempty: bool = True
    ignoreduplicates: bool = False
    allowhardlink: bool = False

    create: Make | None = None
    """How a log is made after its rotation; None is not at all."""
    copy: bool = False
    copytruncate: bool = False
    renamecopy: bool = False
    shred: bool = False
    shredcycles: int = 0
    """How often shred overwrites; 0 is its own default."""

    compress: bool = False
    delaycompress: bool = False
    compresscmd: str = "/bin/gzip"
    uncompresscmd: str = "/bin/gunzip"
    compressext: str = ".gz"
    compressoptions: tuple[str, ...] = ()
    """Arguments for compresscmd."""

    extension: str | None = None
    """The end of a log's name that its archives keep: app.log, .log → app.1.log."""
    addextension: str | None = None
    """The end that archives get: app, .log → app.1.log; if the log's name ends so, it moves."""
    dateext: bool = False
    dateformat: str | None = None
    """None is -%Y%m%d, and -%Y%m%d%H for `hourly`."""
    dateyesterday: bool = False
    datehourago: bool = False

    mail: str | None = None
    """To whom logs are mailed."""
    mailfirst: bool = False
    """Mail the archive just made, not the one about to go."""
    sharedscripts: bool = False


@dataclass(frozen=True, kw_only=True)
class Stanza:
    """One set of logs with its options: what stands before a brace, and in it.

    `file` and `line` (from 1) are where its first name stands, `end` is the line of its closing brace.
    """

    patterns: tuple[str, ...]
    text: str = ""
    """What stands before the brace as it is written, quotes and newlines too: scripts that run once get it as $1."""
    options: Options = Options()
    scripts: Mapping[ScriptName, str] = field(default_factory=dict)
    """The text of each script, as it stands between its keyword and endscript, newlines and all."""
    file: str = ""
    line: int = 0
    end: int = 0


@dataclass(frozen=True)
class Complaint:
    """Something wrong with a config file, as logrotate says it, and what is left out because of it.

    `line` counts from 1; 0 is the file as a whole. `fails` says that the exit code becomes 1: logrotate lets unknown
    keywords pass with 0.
    """

    file: str
    line: int
    level: Literal["note", "warning", "error"]
    text: str
    loses: Loss = "nothing"
    fails: bool = False

    def __str__(self) -> str:
        return f"{self.level}: {self.file}:{self.line or ''} {self.text}"
