"""maintd keeps a server's services in order: rotation that loses nothing, plans that are exact, crashes survived."""

import os

__version__ = "0.1.0"

# pydantic would look for plugins in the metadata of every installed package at its import: 16 ms, to find none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
