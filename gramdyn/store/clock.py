"""Time of day as run folders write it: UTC, so that hosts agree."""

from datetime import UTC, datetime


def now() -> str:
    """Time of day in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_finely() -> str:
    """Time of day in UTC, to the millisecond: chunks may be written faster than one a second."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(written: str) -> float:
    """Seconds since 1970 of a time that `now` or `now_finely` gave."""
    return datetime.fromisoformat(written.replace("Z", "+00:00")).timestamp()
