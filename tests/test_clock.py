"""The clock: what was looked at is accepted, and nothing else."""

from maintd.clock import LEAST, Clock


def test_a_jump_after_the_look_is_still_to_be_seen():
    """What happens to the wall clock between a look and its acceptance is seen at the next look, whole."""
    shown = [1000.0]
    clock = Clock(lambda: shown[0])
    seen = clock.drift()
    assert abs(seen) < LEAST
    shown[0] += 3600
    clock.accept(seen)
    jump = clock.jump()
    assert 3590 < jump <= 3600
    clock.accept(jump)
    assert clock.jump() == 0
