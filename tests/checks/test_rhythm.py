"""When checks are due that go by an interval alone."""

from queue import SimpleQueue

from maintd.rhythm import Rhythm


def test_each_is_due_in_its_turn_and_what_is_removed_no_more():
    """The phases say which comes first; what was removed, or removed and set anew, is not due for what it was."""
    due: SimpleQueue[str] = SimpleQueue()
    rhythm = Rhythm(due.put)
    for name, phase in (("b", 0.2), ("a", 0.1), ("gone", 0.0), ("moved", 0.0)):
        rhythm.set(name, 3600, phase)
    rhythm.remove("gone")
    rhythm.remove("moved")
    rhythm.set("moved", 3600, 0.3)
    rhythm.start()
    assert [due.get(timeout=10) for _ in range(3)] == ["a", "b", "moved"]
    rhythm.set("c", 0.01, 0)
    assert [due.get(timeout=10) for _ in range(3)] == ["c", "c", "c"]


def test_an_interval_that_stays_keeps_its_times():
    """A reload that does not change the interval does not put the next time off; one that does begins anew."""
    rhythm = Rhythm(lambda _: None)
    rhythm.set("a", 3600, 10)
    rhythm.set("a", 3600, 1000)
    assert rhythm.seconds_to("a") <= 10
    rhythm.set("a", 1800, 1000)
    assert rhythm.seconds_to("a") > 900
    assert rhythm.seconds_to("b") is None
