"""Which logs this process hardly can rotate, for want of capabilities."""

from collections.abc import Sequence

from maintd import capabilities, patterns
from maintd.config import Config


def unrotatable(config: Config, missing: Sequence[str]) -> list[str]:
    """The logs of the enabled jobs, sorted, for which one of these capabilities would be needed.

    Reads the disk only if one is missing, so that the start of a daemon that may do everything waits for nothing.
    """
    claims = [job.claims() for job in config.jobs.values() if job.enabled] if missing else []
    found = [patterns.expand(claim.paths, claim.exclude, own=config.own) for claim in claims if claim]
    matches = {match.path: match.stat for expansion in found for match in expansion.matches}
    return sorted(path for path, info in matches.items() if capabilities.lacking(path, info, missing))
