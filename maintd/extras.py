"""Libraries that are extras of maintd, and whether they are there."""

import importlib.util

EXTRAS = {"obstore": "s3", "pyrage": "age", "psycopg": "postgres", "redis": "redis"}


def lacking(library: str) -> str:
    """What is to be said if a library is not installed; nothing if it is. It is not loaded."""
    if importlib.util.find_spec(library) is not None:
        return ""
    return f"it takes the extra {EXTRAS[library]}, which is not installed: pip install 'maintd[{EXTRAS[library]}]'"
