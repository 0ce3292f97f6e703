"""What /proc says of the machine's memory and swap (proc_meminfo(5), proc_vmstat(5))."""

import mmap


def memory() -> dict[str, int]:
    """The fields of /proc/meminfo, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        pairs = (line.split(":") for line in lines)
        return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def swapped() -> int:
    """Bytes that went into swap and out of it since the machine was started."""
    with open("/proc/vmstat", encoding="ascii") as lines:
        counts = dict(line.split() for line in lines)
    return (int(counts.get("pswpin", 0)) + int(counts.get("pswpout", 0))) * mmap.PAGESIZE
