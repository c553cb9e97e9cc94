"""Which case numbers are done: ranges, half open, sorted and apart."""

from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class Ranges:
    """A set of case numbers."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        """The numbers in `ranges`, in any order."""
        self._ranges: list[Range] = []
        for first, last in ranges:
            self.add(first, last)

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)

    def __len__(self) -> int:
        """How many numbers there are."""
        return sum(last - first for first, last in self._ranges)

    def add(self, first: int, last: int) -> None:
        """Add the numbers [first, last)."""
        if first >= last:
            return
        apart = []
        for begin, end in self._ranges:
            if end < first or last < begin:
                apart.append((begin, end))
            else:
                first, last = min(first, begin), max(last, end)
        self._ranges = sorted([*apart, (first, last)])

    def has(self, first: int, last: int) -> bool:
        """Whether all of [first, last) is there."""
        return first >= last or any(b <= first and last <= e for b, e in self._ranges)

    def next_missing(self, number: int) -> Range | tuple[int, None]:
        """The first numbers from `number` on that are missing, [first, last); None is no end."""
        for begin, end in self._ranges:
            if number < begin:
                return number, begin
            number = max(number, end)
        return number, None
