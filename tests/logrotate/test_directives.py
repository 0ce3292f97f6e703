"""Every directive of logrotate sets what its manual says it sets."""

import dataclasses
import re

import pytest

from maintd.logrotate import directives, sources
from maintd.logrotate.stanza import EACH_WEEK, SCRIPT_NAMES, Criteria, Make, Options, Su
from maintd.values import completed
from tests.logrotate import original
from tests.tree import ROOT

MIB = 1 << 20


def only(**changes):
    return dataclasses.replace(Options(), **changes)


def by(**criteria):
    return only(criteria=Criteria(**criteria))


SETTINGS = [
    ("", Options()),
    ("rotate 7", only(rotate=7)),
    ("rotate -1", only(rotate=-1)),
    ("rotate 010", only(rotate=8)),
    ("start 0", only(start=0)),
    ("olddir /var/old", only(olddir="/var/old")),
    ("olddir old\nnoolddir", Options()),
    ("createolddir", only(createolddir=Make())),
    ("createolddir 750 root\nolddir old", only(createolddir=Make(0o750, 0), olddir="old")),
    ("createolddir 750\nnocreateolddir", Options()),
    ("su root 0", only(su=Su(0, 0))),
    ('su "root" "root"', only(su=Su(0, 0))),
    ("shred\nshredcycles 3", only(shred=True, shredcycles=3)),
    ("shred\nnoshred", Options()),
    ("allowhardlink", only(allowhardlink=True)),
    ("allowhardlink\nnoallowhardlink", Options()),
    ("minutes 15", by(kind="minutes", minutes=15)),
    ("hourly", by(kind="hourly")),
    ("daily", by(kind="daily")),
    ("weekly", by(kind="weekly")),
    ("weekly 3", by(kind="weekly", weekday=3)),
    ("weekly 7", by(kind="weekly", weekday=EACH_WEEK)),
    ("monthly", by(kind="monthly")),
    ("monthly 31", by(kind="monthly", monthday=31)),
    ("monthly 3\nmonthly", by(kind="monthly")),
    ("yearly", by(kind="yearly")),
    ("size 100k", by(size=102400)),
    ("size=10K\n", by(size=10240)),
    ("daily\nsize 3M", by(size=3 * MIB)),
    ("size 3M\ndaily", by(kind="daily", size=3 * MIB)),
    (
        "daily\nminsize 1k\nmaxsize 1G\nminage 2\nmaxage 30",
        by(kind="daily", minsize=1024, maxsize=1 << 30, minage=2, maxage=30),
    ),
    ("missingok", only(missingok=True)),
    ("missingok\nnomissingok", Options()),
    ("notifempty", only(ifempty=False)),
    ("notifempty\nifempty", Options()),
    ("ignoreduplicates", only(ignoreduplicates=True)),
    ("create", only(create=Make())),
    ("create 644 root", only(create=Make(0o644, 0))),
    ("create\nnocreate", Options()),
    ("copy", only(copy=True)),
    ("copy\nnocopy", Options()),
    ("copy\ncopytruncate", only(copy=True, copytruncate=True)),
    ("renamecopy\ncopytruncate", only(copytruncate=True)),
    ("copytruncate\nrenamecopy", only(renamecopy=True)),
    ("copytruncate\nnocopytruncate", Options()),
    ("renamecopy\nnorenamecopy", Options()),
    ("compress\ndelaycompress", only(compress=True, delaycompress=True)),
    ("compress\nnocompress\ndelaycompress\nnodelaycompress", Options()),
    ("compresscmd /usr/bin/xz", only(compresscmd="/usr/bin/xz", compressext=".xz")),
    ("compressext .q\ncompresscmd bzip2", only(compresscmd="bzip2", compressext=".bz2")),
    ("compresscmd zstd\ncompressext .q", only(compresscmd="zstd", compressext=".q")),
    ("compresscmd pigz", only(compresscmd="pigz")),
    ("compresscmd zip", only(compresscmd="zip", compressext=".zip")),
    ("compresscmd compress", only(compresscmd="compress", compressext=".Z")),
    ("uncompresscmd /bin/x", only(uncompresscmd="/bin/x")),
    ("extension .log", only(extension=".log")),
    ("addextension .log", only(addextension=".log")),
    ("dateext\ndateformat .%Y %m", only(dateext=True, dateformat=".%Y %m")),
    ("dateext\nnodateext\ndateyesterday\nnodateyesterday\ndatehourago\nnodatehourago", Options()),
    ("dateyesterday", only(dateyesterday=True)),
    ("datehourago", only(datehourago=True)),
    ("mail a@b\nmailfirst", only(mail="a@b", mailfirst=True)),
    ("mail a@b\nmailfirst\nnomail\nmaillast", Options()),
    ("sharedscripts", only(sharedscripts=True)),
    ("sharedscripts\nnosharedscripts", Options()),
    ("errors a@b c", Options()),
    ("foo bar", Options()),
]


@pytest.mark.parametrize(("body", "wanted"), SETTINGS)
def test_a_directive_sets_its_option(tmp_path, body, wanted):
    """In a stanza and before it, every directive changes its own option and nothing else."""
    assert original.stanza(tmp_path, body).options == wanted
    assert original.stanza(tmp_path, "", before=body).options == wanted


def test_every_option_has_a_directive():
    """Each option is set to something else than its default by some directive, and each keyword is in this table."""
    set_somewhere = [options for _, options in SETTINGS]
    for field in dataclasses.fields(completed(Options)):
        assert any(getattr(each, field.name) != getattr(Options(), field.name) for each in set_somewhere) or (
            field.name == "compressoptions"  # test_options_for_the_compressor_are_words
        ), field.name
    written = {word for body, _ in SETTINGS for line in body.split("\n") for word in line.split("=")[0].split()[:1]}
    assert {*directives._TABLE, *directives._REMEMBERED} - written == {"compressoptions"}


def test_a_stanza_overrides_what_is_global(tmp_path):
    """What stands in a stanza holds there; what stands before it holds for what the stanza does not say."""
    found = original.stanza(tmp_path, "rotate 3\nnocompress\nweekly", before="rotate 5\ncompress\nmissingok\nsize 5k")
    assert found.options == only(rotate=3, missingok=True, criteria=Criteria(kind="weekly", size=5120))


@pytest.mark.parametrize(
    ("before", "body", "wanted"),
    [
        ("create 600 root root", "create 644", only(create=Make(0o644, 0, 0))),
        ("create 600 root root\nnocreate", "create", only(create=Make(0o600, 0, 0))),
        ("createolddir 700 root", "createolddir 755", only(createolddir=Make(0o755, 0))),
        ("su root root", "su", only(su=Su(0, 0))),
        ("create 600", "", only(create=Make(0o600))),
        ("create 600", "nocreate", Options()),
    ],
)
def test_what_is_left_out_is_as_it_was_given_before(tmp_path, before, body, wanted):
    """create, createolddir and su take a part that they are not told from the one before them."""
    assert original.stanza(tmp_path, body, before).options == wanted


def test_scripts_are_kept_as_they_are_written(tmp_path):
    """Each script has its own text; of two the last counts; a global one holds for stanzas that have none."""
    body = "".join(f"{name}\n\techo {name} }}\nendscript\n" for name in SCRIPT_NAMES)
    assert original.stanza(tmp_path, body).scripts == {name: f"\techo {name} }}\n" for name in SCRIPT_NAMES}
    twice = "postrotate\none\nendscript\npostrotate\ntwo\nendscript"
    assert original.stanza(tmp_path, twice).scripts == {"postrotate": "two\n"}
    found = original.stanza(tmp_path, "prerotate\nb\nendscript", before=twice)
    assert found.scripts == {"postrotate": "two\n", "prerotate": "b\n"}


def test_complaints_say_what_is_lost(tmp_path):
    """A complaint names file and line in logrotate's words, what it costs, and whether the exit code is 1."""
    text = "size\nfoo\nL/a {\nerrors x\nrotate x\n}\nL/b {\ndaily\nweekly\n} x\n"
    original.write(tmp_path, text + "create nosuch\n")
    found = sources.read([str(tmp_path / "c")]).complaints
    assert [(each.line, each.level, each.text, each.loses, each.fails) for each in found] == [
        (1, "error", "argument expected after size", "line", False),
        (2, "error", "unknown option 'foo' -- ignoring line", "line", False),
        (4, "warning", "the errors directive is deprecated and no longer used.", "line", False),
        (5, "error", "bad rotation count 'x'", "stanza", True),
        (9, "note", "'weekly' overrides previously specified 'daily'", "nothing", False),
        (10, "error", "unexpected text after }", "line", False),
        (11, "error", "unknown user 'nosuch'", "file", True),
    ]
    assert str(found[3]) == f"error: {tmp_path}/c:5 bad rotation count 'x'"


def test_the_page_has_every_directive():
    """docs/logrotate.md says of each directive what maintd does, and what a native job has instead."""
    page = (ROOT / "docs/logrotate.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    said = {word for row in rows for name in re.findall(r"`([^`]*)`", row.split("|")[1]) for word in name.split()[:1]}
    known = {*directives.KEYWORDS, *SCRIPT_NAMES}
    assert known <= said, known - said
    assert all(len(row.split("|")) == 5 for row in rows)
