"""Kinds of runs, and how often which VMA has them."""

import numpy as np

# Kinds of runs. Those up to DEVICE_EXCLUSIVE_WRITE map or point to folios.
_KINDS = (
    ANON,
    FILE,
    KSM,
    ZONE_DEVICE,
    MIGRATION_READ,
    MIGRATION_READ_EXCLUSIVE,
    MIGRATION_WRITE,
    DEVICE_READ,
    DEVICE_WRITE,
    DEVICE_EXCLUSIVE,
    DEVICE_EXCLUSIVE_WRITE,
    UNLISTED,
    ZERO,
    SPECIAL,
    HOLE,
    SWAP,
    HWPOISON,
    MARKER_UFFD_WP,
    MARKER_POISON,
    MARKER_GUARD,
) = range(20)


def _row(*pairs: tuple[int, int]) -> list[int]:
    values = [value for value, weight in pairs for _ in range(weight)]
    assert len(values) == 128, len(values)
    return values


# What a VMA maps, out of 128 runs; rows are scene.ANON_VMA, FILE_VMA, SHARED_VMA, DEVICE_VMA.
RUNS = np.array(
    [
        _row(
            (ANON, 84),
            (ZERO, 6),
            (KSM, 4),
            (ZONE_DEVICE, 2),
            (HOLE, 8),
            (SWAP, 4),
            (MIGRATION_READ, 2),
            (MIGRATION_READ_EXCLUSIVE, 2),
            (MIGRATION_WRITE, 3),
            (DEVICE_READ, 2),
            (DEVICE_WRITE, 3),
            (DEVICE_EXCLUSIVE, 1),
            (DEVICE_EXCLUSIVE_WRITE, 1),
            (HWPOISON, 2),
            (MARKER_UFFD_WP, 1),
            (MARKER_POISON, 1),
            (MARKER_GUARD, 2),
        ),
        _row(
            (FILE, 48),
            (ANON, 42),
            (UNLISTED, 4),
            (ZERO, 2),
            (ZONE_DEVICE, 3),
            (HOLE, 10),
            (SWAP, 4),
            (MIGRATION_READ, 3),
            (MIGRATION_READ_EXCLUSIVE, 1),
            (MIGRATION_WRITE, 3),
            (HWPOISON, 2),
            (MARKER_UFFD_WP, 3),
            (MARKER_POISON, 2),
            (MARKER_GUARD, 1),
        ),
        _row(
            (FILE, 92),
            (UNLISTED, 6),
            (ZONE_DEVICE, 4),
            (HOLE, 10),
            (MIGRATION_READ, 3),
            (MIGRATION_WRITE, 4),
            (HWPOISON, 2),
            (MARKER_UFFD_WP, 4),
            (MARKER_POISON, 2),
            (MARKER_GUARD, 1),
        ),
        _row((SPECIAL, 80), (FILE, 24), (HOLE, 24)),
    ],
    np.int64,
)
