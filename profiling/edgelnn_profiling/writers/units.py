"""Numbers as people read them. Units appear here and nowhere before: inside, all is in seconds and bytes."""

from __future__ import annotations

__all__ = [
    "UNKNOWN",
    "format_bytes",
    "format_count",
    "format_joules",
    "format_rate",
    "format_ratio",
    "format_seconds",
    "format_seconds_interval",
]

UNKNOWN = "—"
_SCALES = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns"))


def format_seconds(seconds: float | None) -> str:
    """Return a time with three significant digits.

    >>> format_seconds(0.0000165), format_seconds(0.25), format_seconds(12.3)
    ('16.5 µs', '250 ms', '12.3 s')
    """
    if seconds is None:
        return UNKNOWN
    factor, unit = scale_of(seconds)
    return f"{three_digits(seconds * factor)} {unit}"


def format_seconds_interval(value: float, low: float | None, high: float | None) -> str:
    """Return a time and what it may be as well, all in the time's unit.

    >>> format_seconds_interval(0.0000165, 0.0000163, 0.0000168), format_seconds_interval(0.25, None, None)
    ('16.5 µs (16.3–16.8)', '250 ms')
    """
    if low is None or high is None:
        return format_seconds(value)
    factor, unit = scale_of(value)
    return f"{three_digits(value * factor)} {unit} ({three_digits(low * factor)}–{three_digits(high * factor)})"


def format_bytes(count: int | None) -> str:
    """Return a size in powers of ten.

    >>> format_bytes(13_324), format_bytes(-2_000_000), format_bytes(None)
    ('13.3 kB', '-2.00 MB', '—')
    """
    if count is None:
        return UNKNOWN
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(count) >= factor * 0.9995:
            return f"{three_digits(count / factor)} {unit}"
    return f"{count} B"


def format_rate(per_second: float) -> str:
    """Return a number of images a second.

    >>> format_rate(60_606.06), format_rate(3.14159)
    ('60,600', '3.14')
    """
    if per_second < 1000:
        return three_digits(per_second)
    digits = len(str(int(per_second)))
    return f"{round(per_second, 3 - digits):,.0f}"


def format_ratio(value: float, low: float | None = None, high: float | None = None) -> str:
    """Return how many times, with what it may be as well.

    >>> format_ratio(0.9823, 0.93, 1.04), format_ratio(12.345), format_ratio(0.00123)
    ('0.98 (0.93–1.04)', '12.3', '0.0012')
    """
    digits = 1 if value >= 9.995 else 2 if value >= 0.0995 else 4
    if low is None or high is None:
        return f"{value:,.{digits}f}"
    return f"{value:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def format_count(number: int | None) -> str:
    """Return a whole number with its thousands apart.

    >>> format_count(263048), format_count(None)
    ('263,048', '—')
    """
    return UNKNOWN if number is None else f"{number:,}"


def format_joules(energy: float | None) -> str:
    """Return an energy with three significant digits.

    >>> format_joules(0.00123), format_joules(-2.5e-5), format_joules(None)
    ('1.23 mJ', '-25.0 µJ', '—')
    """
    if energy is None:
        return UNKNOWN
    for factor, unit in ((1.0, "J"), (1e3, "mJ"), (1e6, "µJ")):
        if abs(energy) * factor >= 0.9995:
            return f"{three_digits(energy * factor)} {unit}"
    return f"{three_digits(energy * 1e9)} nJ"


def scale_of(seconds: float) -> tuple[float, str]:
    """Return the factor and the name of the unit that a time is read in.

    >>> scale_of(0.0000165)
    (1000000.0, 'µs')
    """
    return next((scale for scale in _SCALES if seconds * scale[0] >= 0.9995), _SCALES[-1])


def three_digits(value: float) -> str:
    """Return a number with three significant digits where it is below a hundred, and whole above.

    >>> three_digits(9.994), three_digits(99.96), three_digits(1234.5), three_digits(-0.5)
    ('9.99', '100', '1,234', '-0.50')
    """
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
