"""Mutants of powerpc: its merge, its flush rules, the coprocessors' own MMU."""

from ..zoo import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="powerpc-batch-ignores-read",
        file="powerpc.py",
        find="    pte &= ~IGNORED\n",
        replace="    pte &= ~(IGNORED | PAGE_READ)\n",
        why="a first entry that is PROT_NONE decides that no readable one of the batch needs a flush",
        origin="class: accessible and inaccessible entries in one batch",
        shows="flush-missing",
        arches=("powerpc",),
    ),
    Mutant(
        name="powerpc-merge-without-soft-dirty",
        file="powerpc.py",
        find="        first |= PAGE_DIRTY | masks.soft_dirty\n",
        replace="        first |= PAGE_DIRTY\n",
        why="merges dirty entries without pte_mkdirty(), which sets soft-dirty",
        origin="class: dirty is merged, soft-dirty is not",
        shows="soft-dirty-lost",
        arches=("powerpc",),
    ),
    Mutant(
        name="powerpc-head-dirties-batch",
        file="powerpc.py",
        find=("    first = table.take(state, index)\n    others = NONE\n"),
        replace=("    first = table.take(state, index)\n    others = first\n"),
        why="a first entry that alone is dirty makes the whole batch soft-dirty",
        origin="class: the first entry is merged into itself",
        shows="soft-dirty-gained",
        arches=("powerpc",),
    ),
    Mutant(
        name="powerpc-merge-without-dirty",
        file="powerpc.py",
        find="    if pte_dirty(others):\n",
        replace="    if pte_dirty(first):\n",
        why="loses the dirty bits of all entries of a batch but the first",
        origin="class: dirty is not merged",
        shows="dirty-lost",
        arches=("powerpc",),
    ),
    Mutant(
        name="coprocessors-never-told",
        file="powerpc.py",
        find="        nmmu=facts.hash_mmu == 0 and facts.isa_31 == 0 and facts.coprocessors > 0,\n",
        replace="        nmmu=False,\n",
        why="a write upgrade leaves the nest MMU with the read-only entry",
        origin="class: no flush in radix__ptep_modify_prot_commit()",
        shows="nmmu-missing",
        arches=("powerpc",),
    ),
    Mutant(
        name="coprocessors-told-once",
        file="powerpc.py",
        find=("        for at in range(index, index + nr):\n            tlb.nmmu("),
        replace=("        for at in range(index, index + ONE):\n            tlb.nmmu("),
        why="of an upgraded batch only the first page is flushed for the coprocessors",
        origin="class: a per-page flush not made per page of a batch",
        shows="nmmu-missing",
        arches=("powerpc",),
    ),
    Mutant(
        name="coprocessors-told-too-late",
        file="powerpc.py",
        find=(
            "    if needs_nmmu_flush(masks, old, new):\n"
            "        for at in range(index, index + nr):\n"
            "            tlb.nmmu(state, call.table_addr + (np.uint64(at) << call.page_shift), ONE)\n"
            "    step = pfn_step(masks, new)\n"
            "    for at in range(index, index + nr):\n"
            "        table.store(state, at, new)\n"
            "        new += step\n"
        ),
        replace=(
            "    step, told = pfn_step(masks, new), needs_nmmu_flush(masks, old, new)\n"
            "    for at in range(index, index + nr):\n"
            "        table.store(state, at, new)\n"
            "        new += step\n"
            "    if told:\n"
            "        for at in range(index, index + nr):\n"
            "            tlb.nmmu(state, call.table_addr + (np.uint64(at) << call.page_shift), ONE)\n"
        ),
        why="flushes for the coprocessors when they may have seen the upgraded entry already",
        origin="class: order in radix__ptep_modify_prot_commit()",
        shows="invalidation-wrong",
        arches=("powerpc",),
    ),
    Mutant(
        name="coprocessors-told-of-all-writes",
        file="powerpc.py",
        find="    return masks.nmmu and old & PAGE_RW == PAGE_READ and new & PAGE_WRITE != NONE\n",
        replace="    return masks.nmmu and new & PAGE_WRITE != NONE\n",
        why="tells coprocessors of entries that were writable already, or not accessible",
        origin="class: is_pte_rw_upgrade() looks at the new entry only",
        shows="nmmu-unneeded",
        arches=("powerpc",),
    ),
    Mutant(
        name="coprocessors-told-on-power10",
        file="powerpc.py",
        find="facts.hash_mmu == 0 and facts.isa_31 == 0 and facts.coprocessors > 0",
        replace="facts.hash_mmu == 0 and facts.coprocessors > 0",
        why="goes on telling the coprocessors where the hardware no longer needs it",
        origin="class: the test for ISA 3.1 is missing",
        shows="nmmu-unneeded",
        arches=("powerpc",),
    ),
    Mutant(
        name="modify-masks-newprot",
        file="powerpc.py",
        find="    return pte & masks.kept | masks.newprot\n",
        replace="    return pte & masks.kept | masks.newprot & ~masks.kept\n",
        why="takes no accessed bit from the new protection, as other architectures do",
        origin="class: pte_modify() as on x86_64",
        shows="accessed-lost",
        arches=("powerpc",),
    ),
    Mutant(
        name="flush-ignores-reads",
        file="powerpc.py",
        find="    return old & ~new & ~PAGE_ACCESSED != NONE\n",
        replace="    return old & ~new & PAGE_WRITE != NONE\n",
        why="PROT_NONE and the loss of execute leave stale rights in the TLB",
        origin="class: only lost write permission is flushed",
        shows="flush-missing",
        arches=("powerpc",),
    ),
    Mutant(
        name="flush-on-upgrade",
        file="powerpc.py",
        find="    return old & ~new & ~PAGE_ACCESSED != NONE\n",
        replace="    return (old ^ new) & ~PAGE_ACCESSED != NONE\n",
        why="flushes rights that are only gained",
        origin="class: the rule of x86_64",
        shows="flush-unneeded",
        arches=("powerpc",),
    ),
    Mutant(
        name="hash-elides-flush",
        file="powerpc.py",
        find=("    if masks.flushes_always:\n        return True\n"),
        replace="",
        why="elides flushes by the radix rule where the hash table has to be cleaned",
        origin="class: pte_needs_flush() without its look at the MMU",
        shows="flush-missing",
        arches=("powerpc",),
    ),
    Mutant(
        name="page-size-forgotten",
        file="powerpc.py",
        find="    step = pfn_step(masks, new)\n",
        replace="    step = ONE << PAGE_SHIFT_4K\n",
        why="writes each entry 4 KiB behind the one before, whatever the pages' size",
        origin="class: a constant page size",
        shows="pfn-changed",
        arches=("powerpc",),
    ),
)
