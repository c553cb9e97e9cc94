"""Mutants of arm64: contpte blocks, and the rules of its entries.

CP numbers are rows of the catalogue of real bugs that these were made after: a
bug of another function or architecture, planted where mprotect would have it.
"""

from ..zoo import Mutant

MUTANTS: tuple[Mutant, ...] = (
    # What a folded block's entries are taken for.
    Mutant(
        name="early-stop-forgets-itself",
        file="contpte.py",
        find=("    if found & DIRTY == NONE:\n        missing = DIRTY\n        at += ONE\n"),
        replace=(
            "    if found & DIRTY == NONE:\n"
            "        missing = DIRTY\n"
            "    else:\n"
            "        found = DIRTY\n"
            "    at += ONE\n"
        ),
        why="an entry that is dirty and accessed counts as dirty alone",
        origin="class: contpte_ptep_get(), v6.17, whose scan for an accessed entry goes on behind the dirty one",
        shows="",
        proof=(
            "Only a loaded entry has fewer marks so. It is asked for its page, and whether it is present, "
            "special or PROT_NONE, and is compared with its neighbours by clear_ignored(), which takes the "
            "marks off. What is changed is taken, and taking gathers marks of its own."
        ),
        arches=("arm64",),
    ),
    Mutant(
        name="hint-without-clip",
        file="contpte.py",
        find="    return left if left < most else most\n",
        replace="    return left\n",
        why="a folded entry speaks for its block even where the range ends inside it",
        origin="class: no clip by max_nr after pte_batch_hint()",
        shows="outside-changed",
        arches=("arm64",),
    ),
    Mutant(
        name="batch-crosses-cont",
        file="arm64.py",
        find="    pte = without_marks(pte)\n",
        replace="    pte = without_marks(pte) & ~PTE_CONT\n",
        why="a batch goes on from a folded block into entries that are not folded",
        origin="class: PTE_CONT is not compared",
        shows="accessed-gained",
        arches=("arm64",),
    ),
    Mutant(
        name="arm64-batch-ignores-uffd",
        file="arm64.py",
        find="    pte = without_marks(pte)\n",
        replace="    pte = without_marks(pte) & ~masks.uffd\n",
        why="the userfaultfd bit of the first entry is written over the whole batch",
        origin='"mm: rmap: support batched unmapping for file large folios" and its fix for UFFD VMAs',
        shows="uffd-changed",
        arches=("arm64",),
    ),
    Mutant(
        name="arm64-merge-forgotten",
        file="contpte.py",
        find="    return with_marks(first, others)\n",
        replace="    return first\n",
        why="loses accessed and dirty of all entries of a batch but the first",
        origin="class: get_and_clear_full_ptes() that merges nothing",
        shows="dirty-lost",
        arches=("arm64",),
    ),
    # Unfolding.
    Mutant(
        name="unfold-first-edge-only",
        file="contpte.py",
        find=(
            "    if nr != ONE and end & IN_BLOCK != NONE:\n        try_unfold(state, end - ONE)\n"
        ),
        replace="",
        why="the block that a batch cuts at its end stays folded",
        origin="class: contpte_try_unfold_partial() looks at the first edge only",
        shows="unfold-missing",
        arches=("arm64",),
    ),
    Mutant(
        name="unfold-last-edge-only",
        file="contpte.py",
        find=("    if index & IN_BLOCK != NONE or nr < BLOCK:\n        try_unfold(state, index)\n"),
        replace="",
        why="the block that a batch cuts at its start stays folded",
        origin="class: contpte_try_unfold_partial() looks at the last edge only",
        shows="unfold-missing",
        arches=("arm64",),
    ),
    Mutant(
        name="unfold-without-tlbi",
        file="contpte.py",
        find="    if facts.bbml3 == 0 or facts.contpte_early_stop == 0:\n",
        replace="    if facts.bbml3 != 0:\n",
        why="leaves the invalidation out on the CPUs that need it",
        origin="the condition of the elision of v6.17 the wrong way round",
        shows="unfold-missing",
        arches=("arm64",),
    ),
    Mutant(
        name="repaint-loses-marks",
        file="contpte.py",
        find=("        found |= marks_of(table.take(state, at))\n    facts ="),
        replace=("        table.take(state, at)\n    facts ="),
        why="entries of a block that is repainted get the marks of one of them",
        origin="class: contpte_convert() without gathering",
        shows="accessed-lost",
        arches=("arm64",),
    ),
    Mutant(
        name="repaint-from-own-page",
        file="contpte.py",
        find="    store_run(state, first, first + BLOCK, with_marks(pte & ~PFN_IN_BLOCK, found))\n",
        replace="    store_run(state, first, first + BLOCK, with_marks(pte, found))\n",
        why="a block is repainted from the page of the entry that was touched",
        origin="class: contpte_convert() without aligning the PFN",
        shows="pfn-changed",
        arches=("arm64",),
    ),
    Mutant(
        name="unfold-always",
        file="contpte.py",
        find="    if index & IN_BLOCK != NONE or nr < BLOCK:\n",
        replace="    if nr != NONE:\n",
        why="unfolds the first block of a batch even where it is taken whole",
        origin="class: what 6.16 did for each block, and the series did away with",
        shows="unfold-unneeded",
        arches=("arm64",),
    ),
    Mutant(
        name="tlbi-from-touched-entry",
        file="contpte.py",
        find="        address = facts.table_addr + (first << facts.page_shift)\n",
        replace="        address = facts.table_addr + (index << facts.page_shift)\n",
        why="invalidates 16 pages from the touched entry on, not those of its block",
        origin="class: contpte_convert() without aligning the address",
        shows="unfold-missing",
        arches=("arm64",),
    ),
    Mutant(
        name="fold-without-tlbi",
        file="contpte.py",
        find="            tlb.fold(state, address, BLOCK)\n",
        replace="            pass\n",
        why="folds a block while a TLB may hold its entries one by one",
        origin="class: no invalidation in contpte_convert() when it folds",
        shows="fold-missing",
        arches=("arm64",),
    ),
    Mutant(
        name="tlbi-before-break",
        file="contpte.py",
        find=(
            "    for at in range(first, first + BLOCK):\n"
            "        found |= marks_of(table.take(state, at))\n"
            "    facts = state.facts[0]\n"
        ),
        replace=(
            "    facts = state.facts[0]\n"
            "    if not is_folded(pte):\n"
            "        tlb.unfold(state, facts.table_addr + (first << facts.page_shift), BLOCK)\n"
            "    for at in range(first, first + BLOCK):\n"
            "        found |= marks_of(table.take(state, at))\n"
            "    if not is_folded(pte):\n"
            "        return store_run(\n"
            "            state, first, first + BLOCK, with_marks(pte & ~PFN_IN_BLOCK, found)\n"
            "        )\n"
        ),
        why="unfolds a block by an invalidation that comes before the entries are cleared",
        origin="class: break before make, contpte_convert()",
        shows="invalidation-wrong",
        arches=("arm64",),
    ),
    # Folding.
    Mutant(
        name="fold-ignores-folio",
        file="contpte.py",
        find=("    if not folio.listed or folio.end - folio.start < BLOCK:\n        return\n"),
        replace="",
        why="folds a block of pages of several folios, which then share their marks",
        origin="class: __contpte_try_fold() without its look at the folio",
        shows="invariant-B",
        arches=("arm64",),
    ),
    Mutant(
        name="fold-ignores-write",
        file="contpte.py",
        find="        if without_marks(table.load(state, at)) != expected:\n",
        replace="        if (without_marks(table.load(state, at)) ^ expected) & ~np.uint64(1 << 51) != NONE:\n",
        why="folds writable and read-only entries into one block, all like the last",
        origin="class: __contpte_try_fold() compares too little",
        shows="cow-write",
        arches=("arm64",),
    ),
    Mutant(
        name="whole-block-anywhere",
        file="contpte.py",
        find="    lies_alike = (pte >> PFN_SHIFT ^ index) & IN_BLOCK == NONE\n",
        replace="    lies_alike = True\n",
        why="writes a whole block as contiguous, though its pages do not begin at a block's memory",
        origin="class: contpte_set_ptes() without the alignment of the PFN",
        shows="invariant-B",
        arches=("arm64",),
    ),
    Mutant(
        name="whole-block-of-prot-none",
        file="contpte.py",
        find="    if pte & PTE_VALID != NONE and lies_alike and first_block < end_blocks:\n",
        replace="    if lies_alike and first_block < end_blocks:\n",
        why="writes PTE_CONT into entries that are PROT_NONE",
        origin="class: contpte_set_ptes() without its test for a valid entry",
        shows="bits-changed",
        arches=("arm64",),
    ),
    Mutant(
        name="single-commit-keeps-cont",
        file="contpte.py",
        find=("    pte &= ~PTE_CONT\n    replace(state, index, pte)\n"),
        replace="    replace(state, index, pte)\n",
        why="an entry that is committed alone keeps PTE_CONT from the batch's template",
        origin="class: set_ptes() without pte_mknoncont()",
        shows="invariant-B",
        arches=("arm64",),
    ),
    Mutant(
        name="wild-swap-keeps-bit-52",
        file="contpte.py",
        find="    replace(state, index, pte & ~PTE_CONT)\n",
        replace="    replace(state, index, pte)\n",
        why="keeps bit 52 of a swap offset, which the kernel loses (wild)",
        origin="class: the curiosity of set_ptes() mended on one side only",
        shows="swap-changed",
        arches=("arm64",),
    ),
    # Rules for one entry.
    Mutant(
        name="modify-loses-hardware-dirty",
        file="arm64.py",
        find=(
            "    dirty = marks_of(pte) & DIRTY\n"
            "    return with_marks(pte & ~TAKEN | taken, dirty)\n"
        ),
        replace=(
            "    dirty = pte & PTE_DIRTY\n    return with_marks(pte & ~TAKEN | taken, dirty)\n"
        ),
        why="what only the hardware marked dirty is clean after a change of protection",
        origin="CP6: LoongArch pte_modify(), 2025",
        shows="dirty-lost",
        arches=("arm64",),
    ),
    Mutant(
        name="modify-keeps-rdonly",
        file="arm64.py",
        find="    return with_marks(pte & ~TAKEN | taken, dirty)\n",
        replace="    return pte & ~TAKEN | taken | dirty\n",
        why="a dirty writable entry stays read-only to the hardware, which faults for ever",
        origin="CP4: before 3c0696076aad (v6.7)",
        shows="bits-changed",
        arches=("arm64",),
    ),
    Mutant(
        name="mkwrite-keeps-rdonly",
        file="arm64.py",
        find="    rdonly = PTE_RDONLY if pte & PTE_DIRTY != NONE else masks.clean\n",
        replace="    rdonly = masks.clean\n",
        why="an upgraded dirty entry stays read-only to the hardware",
        origin="CP4, in pte_mkwrite()",
        shows="bits-changed",
        arches=("arm64",),
    ),
    Mutant(
        name="wild-uffd-loses-hardware-dirty",
        file="arm64.py",
        find="    return (pte | masks.uffd | marks_of(pte) & DIRTY) & ~PTE_DBM | PTE_RDONLY\n",
        replace="    return (pte | masks.uffd) & ~PTE_DBM | PTE_RDONLY\n",
        why="write protection forgets what only the hardware marked dirty: here by a wild newprot alone",
        origin="CP6: 018e9828eb52, LoongArch pte_wrprotect()",
        shows="dirty-lost",
        arches=("arm64",),
    ),
    Mutant(
        name="flush-ignores-execute",
        file="arm64.py",
        find="SOFTWARE_BITS = PTE_SOFTWARE | PTE_UFFD | PTE_DEVMAP | PTE_SPECIAL | PTE_DIRTY\n",
        replace="SOFTWARE_BITS = PTE_SOFTWARE | PTE_UFFD | PTE_DEVMAP | PTE_SPECIAL | PTE_DIRTY | PTE_UXN\n",
        why="takes execute-never for a bit that the hardware does not see",
        origin="CP3: a wrong mask in the elision of c320dbb7c80d (v6.19)",
        shows="flush-missing",
        arches=("arm64",),
    ),
    Mutant(
        name="flush-takes-uffd-for-software",
        file="arm64.py",
        find="    return old & PTE_VALID != NONE and (old ^ new) & ~SOFTWARE_BITS != NONE\n",
        replace=(
            "    if (old ^ new) & PTE_UFFD != NONE:\n"
            "        return False\n"
            "    return old & PTE_VALID != NONE and (old ^ new) & ~SOFTWARE_BITS != NONE\n"
        ),
        why="a change of the uffd bit hides the write protection that comes with it",
        origin="CP3: uffd write protection taken for software's business",
        shows="flush-missing",
        arches=("arm64",),
    ),
    Mutant(
        name="flush-from-prot-none",
        file="arm64.py",
        find="    return old & PTE_VALID != NONE and (old ^ new) & ~SOFTWARE_BITS != NONE\n",
        replace="    return (old ^ new) & ~SOFTWARE_BITS != NONE\n",
        why="flushes what no TLB can hold",
        origin="before c320dbb7c80d (v6.19)",
        shows="flush-unneeded",
        arches=("arm64",),
    ),
)
