"""A share of the random cases beside logrotate; all of them: python -m tests.faults logrotate."""

import os

import pytest
from hypothesis import HealthCheck, given, settings

from .beside import Place
from .original import needed
from .random_cases import differences, scenes

pytestmark = [needed, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of several users")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scene=scenes)
def test_random_trees_come_out_alike(place: Place, scene):
    """Names, bytes, modes, owners, state, scripts and exit code are logrotate's, or the reason is one that is named."""
    reason, found = differences(place, scene)
    assert found == [], reason
