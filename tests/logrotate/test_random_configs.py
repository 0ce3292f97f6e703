"""Configs of random directives, names, blanks, comments and errors come to the same stanzas as in logrotate."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.logrotate import original
from tests.logrotate.test_arguments import HARMLESS, LOST, WRONG
from tests.logrotate.test_directives import SETTINGS

NOT_IN_3_21 = ("minutes 15", "monthly 31", "monthly 3\nmonthly", 'su "root" "root"')
ELSEWHERE = ("errors", "dateyesterday\nno", "old", "ignoreduplicates")  # differ on purpose, or look for directories
RIGHT = [
    body
    for body in [*HARMLESS, *(body for body, _ in SETTINGS)]
    if body and body not in NOT_IN_3_21 and not any(word in body for word in ELSEWHERE) and "nodate" not in body
]
NAMES = ["L/a", "L/b", '"L/c d"', "'L/e'", "L/c\\ d", "L/[ef]", "L/?", "L/c*", "L/nope", '"L/"a']
TEXTS = ("", "}\n", "echo {\n# x\n")
SCRIPTS = [f"{name}\n{text}endscript" for name in ("postrotate", "firstaction") for text in TEXTS]

blanks = some.sampled_from(["\n", "\n\n", " \n", "\n\t", "\n# c\n", "\n  # } x {\n"])
right = some.sampled_from([*RIGHT, *SCRIPTS])
wrong = some.sampled_from([body for body in WRONG if body not in ("su", "su root", "su root nosuch")])
lines = some.lists(some.tuples(some.sampled_from(["", "  ", "\t"]), right, blanks).map("".join), max_size=4)
names = some.tuples(
    some.lists(some.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    some.sampled_from([" ", "\n", "\n# it's\n"]),
).map(lambda found: found[1].join(found[0]))
opened = some.sampled_from([" {\n", "{\n", "\n{\n", " { # x\n"])
closed = some.sampled_from(["}\n", "}\n\n", "} x\n", "} # y\n"])
broken = some.lists(wrong.map(lambda body: body + "\n"), max_size=1)
stanzas = some.tuples(names, opened, lines.map("".join), broken.map("".join), some.just("\n"), closed).map("".join)
configs = some.lists(some.one_of(stanzas, stanzas, right.map(lambda body: body + "\n")), max_size=5).map("".join)


@original.needed
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=configs)
def test_any_config_comes_to_the_same_stanzas(tmp_path, text):
    """Stanzas, their options as far as logrotate -d tells them, their logs, and the exit code."""
    original.write(tmp_path, "missingok\n" + text)
    (tmp_path / "l" / "e").write_text("x")
    theirs, ours = original.original(tmp_path), original.ours(tmp_path)
    assert (ours.code, ours.stanzas) == (theirs.code, theirs.stanzas)


@pytest.mark.parametrize("body", [*WRONG, *LOST])
def test_one_bad_stanza_does_not_stop_the_others(tmp_path, body):
    """Whatever is wrong in a stanza, those before and behind it are read."""
    original.write(tmp_path, f"L/a {{\n}}\nL/e {{\n{body}\n}}\nL/b {{\n}}\n")
    found = original.ours(tmp_path)
    assert (found.code, [logs for _, logs in found.stanzas]) == (1, [[f"{tmp_path}/l/a"], [f"{tmp_path}/l/b"]])
