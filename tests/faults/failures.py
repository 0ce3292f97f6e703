"""How a run that met a fault must end: in order, each target's failure said once; or all is done in spite of it."""

from collections import Counter

from .lab import Ran
from .place import Place
from .scenes import Scene
from .trial import Report, check_safe


def check_failures(ran: Ran, place: Place, scene: Scene, report: Report) -> None:
    """Notes what is wrong with how it ended, and with what there is then."""
    check_safe(place, report)
    failed = Counter(event["target"] for event in ran.events(".failed"))
    report.noticed = ran.code != 0
    said = bool(failed) or ran.err.startswith("maintd: ") or any(message.get("waiting") for message in ran.messages)
    if "Traceback" in ran.err or ran.code not in (0, 1, 5) or ran.orphans:
        report.wrongs.append(f"it did not end in order: {ran}")
    if any(count > 1 for count in failed.values()):
        report.wrongs.append(f"more than one failure of one target: {ran}")
    if ran.code != 0 and not said:
        report.wrongs.append(f"it did not say what failed: {ran}")
    if ran.code == 0 and (failed or not (place.look().is_clean and scene.is_finished(place))):
        report.wrongs.append(f"it said that all is well: {place.look()} {ran}")
