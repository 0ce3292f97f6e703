"""The manual pages: they say what --help says, and man(1) can show them."""

import importlib.util
import shutil  # noqa: TID251 - looks for groff
import subprocess
from pathlib import Path

import pytest

from maintd import client, settings
from maintd.cli import VERBS
from maintd.cli.archive import archive
from maintd.cli.exits import Exit
from maintd.cli.invocation import DEFAULT_CONFIG, SURROUNDINGS

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = ["maintd", *(f"maintd-{verb}" for verb in VERBS), *(f"maintd-archive-{verb}" for verb in archive.commands)]


def _pages():
    spec = importlib.util.spec_from_file_location("man", DOCS / "man.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def _section(page, heading):
    """The lines of one section."""
    return page.partition(f"\n.SH {heading}\n")[2].partition("\n.SH ")[0].splitlines()


def test_the_pages_are_current():
    """docs/man has one page for the program and one for each verb, as --help has it now."""
    assert {path.name: path.read_text() for path in (DOCS / "man").iterdir()} == _pages(), "run: make man"


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole(name):
    """Each page has its options, every exit code, files, environment and examples."""
    page = (DOCS / f"man/{name}.1").read_text()
    assert r"\fB\-h\fP, \fB\-\-help\fP" in _section(page, "OPTIONS")
    codes = [line for line in _section(page, "EXIT STATUS") if r"\fB" in line]
    assert codes == [rf"\fB{int(code)}\fP" for code in Exit]
    assert rf"\fB{DEFAULT_CONFIG}\fP" in _section(page, "FILES")
    assert r"\fBMAINTD_CONFIG\fP" in _section(page, "ENVIRONMENT")
    verb = name.partition("-")[2]
    examples = [line.replace(r"\-", "-") for line in _section(page, "EXAMPLES")]
    assert [line for line in examples if "maintd" in line and (verb in line or verb.replace("-", " ") in line)]


def test_the_named_files_are_the_real_defaults():
    """Where --help and the pages say that state and socket are is where they are by default."""
    daemon = settings.Daemon()
    assert f"{daemon.state_dir} " in SURROUNDINGS
    assert f"{client.socket_path(daemon.runtime_dir)} " in SURROUNDINGS


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not there")
@pytest.mark.parametrize("name", NAMES)
def test_roff_has_nothing_to_complain_of(name):
    """groff formats each page without a warning, and shows the examples as they are typed."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=200n", DOCS / f"man/{name}.1"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    if name == "maintd-plan":
        assert "maintd plan --json | jq 'select(.step == \"action\") | .target'" in done.stdout
