"""How much memory a process holds, in bytes, where the system tells."""

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident() -> int | None:
    """Return what this process holds in memory now; None where the system does not tell."""
    return _status("VmRSS")


def peak_resident() -> int | None:
    """Return the most that this process has held in memory so far; None where the system does not tell."""
    if sys.platform == "darwin":
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not getrusage, whose peak on Linux is inherited from the process that started this one.
    return _status("VmHWM")


def _status(key: str) -> int | None:
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return 1024 * int(value.split()[0])  # in kB, which are 1024 bytes there
    return None
