"""The documentation: what it says about options, events and commands is what there is."""

import importlib.util
import re
from pathlib import Path

import pytest

from maintd import config, jobs
from maintd.alert_settings import Channel, Maintenance, Route
from maintd.cli import VERBS
from maintd.settings import TABLES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def _generate():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows(page):
    """The options of a page's tables: what stands in backquotes at the start of a row."""
    return set(re.findall(r"(?m)^\| `(\w+)` \|", page))


def test_the_table_of_events_is_current():
    """docs/events.md has every kind of event, as the code declares them."""
    assert (DOCS / "events.md").read_text() == _generate().text(), "run: make docs"


def test_the_tables_of_checks_are_current():
    """docs/checks.md has the options of every kind of check, as the code declares them."""
    assert (DOCS / "checks.md").read_text() == _generate().checks(), "run: make docs"


def test_every_check_has_an_example_that_is_right(tmp_path):
    """docs/checks.md shows each kind of check at least once, and a config of all its examples loads."""
    examples = re.findall(r"(?s)```toml\n(.*?)```", (DOCS / "checks.md").read_text())
    shown = {job.kind for job in loaded(tmp_path, "".join(examples)).jobs.values()}
    assert shown == {kind for kind in jobs.kinds() if kind.startswith("check.")}


def loaded(folder, text):
    path = folder / "maintd.toml"
    path.write_text(text)
    path.chmod(0o644)
    return config.load(str(path))


def test_the_examples_of_backups_are_right(tmp_path):
    """Each config that docs/backups.md shows loads as it stands there."""
    examples = re.findall(r"(?s)```toml\n(.*?)```", (DOCS / "backups.md").read_text())
    assert [list(loaded(tmp_path, text).jobs) for text in examples] == [
        ["backup.app", "drill.app"],
        ["backup.app"],
        ["backup.app"],
    ]


@pytest.mark.parametrize("kind", [kind for kind in jobs.kinds() if not kind.startswith("check.")])
def test_every_option_of_a_kind_is_explained(kind):
    """Each option is named on its kind's page, its own in a table, and the tables name no option that is not there."""
    page = (DOCS / f"kinds/{kind}.md").read_text()
    fields = jobs.kind(kind).model_fields
    common = jobs.Job.model_fields
    assert {field for field in fields if f"`{field}`" not in page} == set()
    assert _rows(page) == fields.keys() - common.keys()


def test_every_common_option_is_explained():
    """docs/config.md has the settings tables and what every job has, and nothing else."""
    explained = _rows((DOCS / "config.md").read_text())
    settings = {name for model in TABLES.values() for name in model.model_fields}
    assert explained == settings | jobs.Job.model_fields.keys()


def test_every_option_of_alerts_is_explained():
    """docs/alerts.md has what a channel, a route and a maintenance window have, and nothing else."""
    explained = _rows((DOCS / "alerts.md").read_text())
    assert explained == {name for model in (Channel, Route, Maintenance) for name in model.model_fields}


def _jobs_of_examples():
    """The jobs that the pages and the sample config have a table of."""
    texts = [*(path.read_text() for path in PAGES), *(path.read_text() for path in (ROOT / "config").rglob("*.toml"))]
    return {name for text in texts for name in re.findall(r"(?m)^\s*\[([a-z_.-]+)\]", text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_events_that_pages_name_exist(page):
    """A page that names an event in backquotes names one that there is, a kind, or a job of an example; verbs too."""
    known = {kind.name for kind in _generate().every_kind()}
    nouns = {name.partition(".")[0] for name in known}
    named = {name for name in re.findall(r"`([a-z]+\.[a-z]+)`", page.read_text()) if name.partition(".")[0] in nouns}
    known.update(jobs.kinds())
    assert named - known - _jobs_of_examples() == set()
    assert set(re.findall(r"`maintd (\w[\w-]*)", page.read_text())) <= set(VERBS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Each relative link of a page leads to a file of the project."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target
