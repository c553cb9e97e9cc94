"""Mutants of what becomes of entries that are not present: swap, migration, device, markers."""

from ..zoo import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="marker-in-any-vma",
        file="softleaf.py",
        find="    if not asks(call, MM_CP_UFFD_WP) or not uses_markers(state, call):\n",
        replace="    if not asks(call, MM_CP_UFFD_WP):\n",
        why="installs markers in anon VMAs that did not ask for WP_UNPOPULATED",
        origin="class: userfaultfd_wp_use_markers() not asked",
        shows="none-changed",
        arches=("x86_64", "arm64"),
    ),
    Mutant(
        name="resolve-drops-poison",
        file="softleaf.py",
        find="    if marker & MARKER_POISONED != NONE:\n        return 0\n",
        replace="",
        why="a uffd-wp resolve makes a poisoned entry none",
        origin="fixed by 7e3ce3f8d2d2 (2023)",
        shows="swap-changed",
        arches=("x86_64", "arm64"),
    ),
    Mutant(
        name="resolve-drops-guard",
        file="softleaf.py",
        find="    if state.facts[0].guard_marker != 0 and marker & MARKER_GUARD != NONE:\n        return 0\n",
        replace="",
        why="a uffd-wp resolve removes a guard region",
        origin="class: guard markers (v6.13) without a test of their own",
        shows="swap-changed",
        arches=("x86_64", "arm64"),
    ),
    Mutant(
        name="migration-read-not-exclusive",
        file="softleaf.py",
        find="        read = facts.swp_migration_read_exclusive if anon else facts.swp_migration_read\n",
        replace="        read = facts.swp_migration_read\n",
        why="a writable migration entry of an anon page forgets that the page is exclusive",
        origin="class: plain read entries, as before there were exclusive ones",
        shows="swap-changed",
    ),
    Mutant(
        name="migration-loses-soft-dirty",
        file="softleaf.py",
        find=(
            "        new = arch.swp_entry(masks, read, offset)\n"
            "        if arch.swp_soft_dirty(masks, old):\n"
            "            new = arch.swp_mksoft_dirty(masks, new)\n"
        ),
        replace="        new = arch.swp_entry(masks, read, offset)\n",
        why="a migration entry made read-only is no longer soft-dirty",
        origin="class: a swap bit not carried over",
        shows="swap-changed",
        arches=("x86_64", "powerpc"),
    ),
    Mutant(
        name="migration-loses-young-and-dirty",
        file="softleaf.py",
        find="        new = arch.swp_entry(masks, read, offset)\n",
        replace="        new = arch.swp_entry(masks, read, arch.swp_offset_pfn(masks, old))\n",
        why="a migration entry made read-only forgets accessed and dirty of its page",
        origin="class: dirty lost on migration, as fixed by fd35ca3d12cc (2022)",
        shows="swap-changed",
    ),
    Mutant(
        name="device-loses-uffd",
        file="softleaf.py",
        find=(
            "        new = arch.swp_entry(masks, facts.swp_device_read, offset)\n"
            "        # The soft-dirty bit is lost here: the kernel does not copy it either.\n"
            "        if arch.swp_uffd(masks, old):\n"
            "            new = arch.swp_mkuffd(masks, new)\n"
        ),
        replace="        new = arch.swp_entry(masks, facts.swp_device_read, offset)\n",
        why="a device-private entry made read-only is no longer protected by userfaultfd",
        origin="368076f52ebe, for PMDs",
        shows="swap-changed",
        arches=("x86_64", "arm64"),
    ),
)
