"""Spans of a window, or of the pages of a folio: the whole, then ever shorter pieces of it."""

from collections.abc import Iterator


def spans(length: int, unit: int = 1) -> Iterator[tuple[int, int]]:
    """Half-open spans of [0, length): all of it, then aligned powers of two of `unit`, longest first.

    From the end, because what is behind is left out more often than what is before.
    """
    yield 0, length
    size = unit
    while size * 2 < length:
        size *= 2
    while size >= unit:
        if size < length:
            for start in reversed(range(0, length, size)):
                yield start, min(start + size, length)
        size //= 2
