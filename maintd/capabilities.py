"""Which Linux capabilities this process lacks, and what it cannot do without each (capabilities(7))."""

NEEDED = {
    "CAP_CHOWN": (0, "give a new log its owner"),
    "CAP_DAC_OVERRIDE": (1, "work in directories of other users"),
    "CAP_FOWNER": (3, "set mode and times of other users' files"),
    "CAP_KILL": (5, "signal other users' processes"),
    "CAP_SYS_PTRACE": (19, "see who holds a log"),
    "CAP_LEASE": (28, "ask the kernel whether anybody may write another user's file"),
}


def missing() -> list[str]:
    """The names of the capabilities that are not effective, in the order of NEEDED."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        effective = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return [name for name, (bit, _) in NEEDED.items() if not effective >> bit & 1]
