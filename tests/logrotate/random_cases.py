"""Random stanzas, files, ages and states, and what logrotate and maintd make of each; where they differ, why."""

from dataclasses import dataclass

from hypothesis import strategies as some

from .beside import Case, Did, Place

NAMES = ("firstaction", "prerotate", "postrotate", "lastaction", "preremove")
TODAY = "$(date +%Y%m%d)"


@dataclass(frozen=True)
class Scene:
    """A case, with what is needed to tell where maintd differs on purpose."""

    lines: tuple[str, ...]
    scripts: tuple[tuple[str, bool], ...]
    files: tuple[str, ...]
    logs: str
    state: str
    options: tuple[str, ...]
    before: tuple[str, ...]
    """What holds outside of the stanza."""

    @property
    def case(self) -> Case:
        body = "\n".join([*self.lines, *(_script(name, fails=fails) for name, fails in self.scripts)])
        text = "\n".join([*self.before, f"{self.logs} {{", body, "}\n"])
        return Case("; ".join(self.files), text, self.state, self.options)

    def has(self, *names: str) -> bool:
        return any(line.split()[0] in names for line in (*self.before, *self.lines))


def _script(name: str, *, fails: bool) -> str:
    return f'{name}\necho "{name} $# [$1] [$2]" >> TRACE\n{"exit 3" if fails else ""}\nendscript'


def _one(*values: str) -> some.SearchStrategy[str]:
    return some.sampled_from(values)


_numbers = some.integers(0, 4)
_times = _one("", "hourly", "daily", "weekly", "weekly 7", "monthly", "yearly", "size 1", "size 2k")
_kept = some.integers(-1, 4).map(lambda count: f"rotate {count}")
_made = _one("", "create", "create 600", "create 640 games", "create 604 games daemon", "nocreate", "create games")
_ways = _one("", "", "", "copy", "copytruncate", "renamecopy", "nocopy", "copy\nnocopytruncate")
_compression = _one("", "", "compress", "compress\ndelaycompress", "delaycompress", "compress\ncompressext .z")
_naming = _one("", "", "dateext", "dateext\ndateformat .%Y%m%d-%H", "dateext\ndateyesterday", "start 0", "start 2",
               "extension .log", "addextension .x")  # fmt: skip
_places = _one(
    "", "", "", "olddir o", "olddir o\ncreateolddir 750 games", "olddir o\nnocreateolddir", "olddir o\nnoolddir"
)
_limits = _one(
    "", "", "maxage 3", "minage 1", "minsize 2", "maxsize 1", "minsize 1k", "maxsize 1k", "maxage 1\nrotate -1"
)
_mails = ("mail me@x", "mail me@x\nmailfirst")
_others = _one("", "", "missingok", "notifempty", "shred\nshredcycles 1", "allowhardlink", *_mails, "sharedscripts",
               "su nobody daemon", "su root root")  # fmt: skip
_before = some.lists(
    _one("compress", "nocompress", "dateext", "rotate 1", "create 600", "missingok", "notifempty", "start 1", "weekly"),
    max_size=2, unique=True,
)  # fmt: skip
_ground = _one((), (), (), ("chown nobody:daemon .",), ("chmod 777 .",), ("chgrp games .; chmod 775 .",))
_scripts = some.lists(
    some.tuples(some.sampled_from(NAMES), some.sampled_from((False, False, False, True))),
    max_size=2,
    unique_by=lambda script: script[0],
)
_log = some.tuples(
    _one("a", "a.log", "b"),
    _one("", "x", "some lines of a log", "$(seq 2000)"),
    _one("644", "600", "640", "664"),
    _one("root:root", "nobody:daemon", "games:games"),
    _one("now", "2 hours ago", "5 days ago", "100 days ago"),
).map(lambda found: _laid(*found))
_mark = _one(
    ".0",
    ".1",
    ".2",
    ".3",
    ".4",
    ".01",
    "-20260103",
    "-20260102",
    "-20260101",
    ".20260101-07",
    f"-{TODAY}",
    ".1.x",
    ".2.x",
)
_archive = some.tuples(
    _one("a", "a.log", "a", "b"),
    _mark,
    _one("", "", ".gz", ".z"),
    _one("", "o/"),
    _one("now", "2 days ago", "9 days ago"),
).map(lambda it: _archived(*it))


def _laid(log: str, text: str, mode: str, owner: str, age: str) -> str:
    return f"printf '%s' \"{text}\" > {log}; chown {owner} {log}; chmod {mode} {log}; touch -d '{age}' {log}"


def _archived(log: str, mark: str, suffix: str, folder: str, age: str) -> str:
    name = (
        f"{folder}{log.removesuffix('.log')}{mark}.log"
        if log == "a.log" and mark[1:] in "1234"
        else f"{folder}{log}{mark}"
    )
    path = name + suffix
    how = f"echo '{name}' | gzip -n > {path}" if suffix else f"echo '{name}' > {path}"
    return f"mkdir -p ./{folder}; {how}; chmod 640 {path}; touch -d '{age}' {path}"


_state = some.lists(
    some.tuples(_one("a", "a.log", "b", "gone"), _one("NOW", "OLD", "2025-3-4-5:6:7", "2099-1-1-0:0:0")),
    max_size=3,
    unique_by=lambda it: it[0],
).map(lambda them: "\n".join(f'"L/{name}" {time}' for name, time in them))

scenes = some.builds(
    lambda groups, scripts, files, archives, ground, logs, state, options, before: Scene(
        tuple(line for group in groups for line in group.split("\n") if line),
        tuple(scripts), (*files, *archives, *ground), logs, state, options, tuple(before),
    ),
    some.tuples(_times, _kept, _made, _ways, _compression, _naming, _places, _limits, _others),
    _scripts,
    some.lists(_log, min_size=1, max_size=2, unique_by=lambda text: text.split(" > ")[1].split(";")[0]),
    some.lists(_archive, max_size=4, unique=True),
    _ground,
    _one("L/a", "L/a.log", "L/a L/b", "L/a.log L/a", '"L/a" L/b'),
    _state,
    some.sampled_from(((), ("-f",), ("-f", "-m", "HERE/mailer"), ("-v",))),
    _before,
)  # fmt: skip


def differences(place: Place, scene: Scene) -> tuple[str, list[str]]:
    """Why maintd may differ, "" if it does not or may not; and in what it does although it may not."""
    theirs, ours = place.both(scene.case)
    found = {name for name in ("tree", "trace", "state", "code") if getattr(theirs, name) != getattr(ours, name)}
    reason = _reason(scene, theirs, ours, found) if found else ""
    if reason or not found:
        return reason, []
    pairs = [f"{name}: {getattr(theirs, name)!r}\nmaintd: {getattr(ours, name)!r}" for name in sorted(found)]
    return "", [*pairs, theirs.stderr, ours.stderr]


def _reason(scene: Scene, theirs: Did, ours: Did, found: set[str]) -> str:
    both_fail = bool(theirs.code and ours.code)
    is_unstamped = theirs.code and not set(ours.state.items()) - set(theirs.state.items()) - _due(ours)
    is_mail_only = found == {"trace"} and _unmailed(theirs) == _unmailed(ours)
    is_copied = scene.has("copy", "copytruncate")
    is_plain = any(file.startswith("mkdir") and "gzip" not in file for file in scene.files)
    is_kept = scene.has("dateext") and not any(TODAY in file for file in scene.files)
    reasons = {
        "what failed is not written down as done": found == {"state"} and is_unstamped,
        "with mailfirst, what goes was mailed when it was new, and is not mailed again": (
            scene.has("mailfirst") and (is_mail_only or "mail command failed" in theirs.stderr)
        ),
        "an olddir that cannot be made safely, or for whom it is to be, is not made at all": (
            ours.code and scene.has("createolddir") and "o" in theirs.tree and "o" not in ours.tree
        ),
        "a log that cannot be rotated costs no other (sharedscripts)": both_fail and scene.has("sharedscripts"),
        "a copy that is not made (rotate 0) is neither compressed nor mailed, and that is no error": (
            is_copied
            and "rotate 0" in scene.lines
            and ("tree" not in found or "for mailing" in theirs.stderr or (scene.has("compress") and is_plain))
        ),
        "with rotate 0, nothing stays of a log that renamecopy has renamed, if it cannot be compressed": (
            found == {"tree"}
            and scene.has("renamecopy")
            and "rotate 0" in scene.lines
            and {name: what for name, what in theirs.tree.items() if not name.endswith(".tmp")} == ours.tree
        ),
        "what is mailed uncompressed (delaycompress) goes as it is": (
            not ours.code and scene.has("delaycompress") and "uncompress command failed mailing" in theirs.stderr
        ),
        "whom su names may copy what he can read, though he cannot write it": (
            not ours.code and scene.has("renamecopy") and ".tmp: Permission denied" in theirs.stderr
        ),
        "an archive that was not compressed is compressed, and becomes a generation": (
            theirs.code == ours.code and scene.has("compress") and is_plain and not is_kept
        ),
    }
    return next((reason for reason, is_so in reasons.items() if is_so), "")


def _unmailed(did: Did) -> list[str]:
    """What was noted of scripts, and not of mails."""
    return [line for line in did.trace.splitlines() if not line.startswith("mail ")]


def _due(did: Did) -> set[tuple[str, str]]:
    """Entries that say that a log was not rotated now."""
    return {(log, time) for log, time in did.state.items() if time != "now"}
