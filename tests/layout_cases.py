"""Every layout, each with a name."""

from harness.case import LAYOUTS

ALL = [layout for layouts in LAYOUTS.values() for layout in layouts]
NAMES = [f"{layout.arch}-{1 << layout.page_shift >> 10}K" for layout in ALL]
BY_NAME = dict(zip(NAMES, ALL, strict=True))
