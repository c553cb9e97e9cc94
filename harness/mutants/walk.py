"""Mutants of the code that all architectures share: the walk, batches, commits, folios.

In the order of what they break: which page, which batch, what is written, what
is flushed, what is counted and reported, the rules for one entry. Equivalent
ones come last.
"""

from ..zoo import Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="first-page-is-folio-head",
        file="folios.py",
        find="    page = pfn - folio.start\n",
        replace="    page = NONE\n",
        why="takes the folio's first page for the batch's, so exclusivity is read shifted",
        origin="cac1db8c3aad, fixed by cf1b80dc31a1 (v6.17-rc)",
        shows="cow-write",
        mid_folio_only=True,
    ),
    Mutant(
        name="first-page-decides",
        file="commit.py",
        find="    while length < max_len and state.exclusive[page + length] == exclusive:\n",
        replace="    while length < max_len:\n",
        why="the exclusivity of the batch's first page decides for all of its pages",
        origin="drafts v1 to v3 of cac1db8c3aad",
        shows="cow-write",
    ),
    Mutant(
        name="dirty-means-copied",
        file="commit.py",
        find="    if vma_has(call, VM_SHARED):\n",
        replace="    if vma_has(call, VM_SHARED) or arch.pte_dirty(new):\n",
        why="takes a dirty private entry for one that was copied, whosever its page is",
        origin="9ae0f87d009c, fixed by 5535be309971 (CVE-2022-2590), in mm/gup.c",
        shows="cow-write",
    ),
    # Which entries form a batch.
    Mutant(
        name="no-range-clip",
        file="walk.py",
        find="                max_nr = end - index\n",
        replace="                max_nr = np.uint64(facts.nr_ptes) - index\n",
        why="a batch runs on to the end of the table, past the end of the range",
        origin="354dffd29575, fixed by ddd05742b45b (CVE-2025-38447), in mm/rmap.c",
        shows="outside-changed",
    ),
    Mutant(
        name="no-window-clip",
        file="walk.py",
        find="                max_nr = end - index\n",
        replace=(
            "                max_nr = end - index\n"
            "                if end == np.uint64(facts.nr_ptes):\n"
            "                    max_nr = np.uint64(512) - index\n"
        ),
        why="a batch at the end of the window runs on behind it, where the next VMA is",
        origin="354dffd29575, fixed by ddd05742b45b (CVE-2025-38447), in mm/rmap.c",
        shows="outside-changed",
    ),
    Mutant(
        name="no-folio-end-clip",
        file="detect.py",
        find=(
            "    folio_left = folio.end - arch.pte_pfn(masks, pte)\n"
            "    if folio_left < max_nr:\n"
            "        max_nr = folio_left\n"
        ),
        replace="",
        why="a batch runs on into the folio behind, if its entries look alike",
        origin="f8d937761d65, fixed by 7b08b74f3d99 (v6.15-rc), in folio_pte_batch()",
        shows="accessed-gained",
    ),
    Mutant(
        name="clip-by-folio-size",
        file="detect.py",
        find="    folio_left = folio.end - arch.pte_pfn(masks, pte)\n",
        replace="    folio_left = folio.end - folio.start\n",
        why="clips by the folio's size, which is too long for a batch that starts in its middle",
        origin="354dffd29575, fixed by ddd05742b45b (CVE-2025-38447), in mm/rmap.c",
        shows="dirty-gained",
        mid_folio_only=True,
    ),
    Mutant(
        name="skip-crosses-folios",
        file="detect.py",
        find="    if folio_left < max_nr:\n",
        replace="    if fpb_flags != np.uint64(0) and folio_left < max_nr:\n",
        why="a NUMA scan that skips a folio skips entries of the folio behind, too",
        origin="class: a skip batch that leaves its folio",
        shows="protection-changed",
    ),
    Mutant(
        name="skip-by-folio-size",
        file="walk.py",
        find=(
            "                        nr = mprotect_folio_pte_batch(\n"
            "                            arch, state, masks, index, pte, folio, max_nr, SKIP\n"
            "                        )\n"
        ),
        replace=(
            "                        nr = folio.end - pfn\n"
            "                        if nr > max_nr:\n"
            "                            nr = max_nr\n"
        ),
        why="a NUMA scan that skips a folio takes the entries behind for its pages, unseen",
        origin="review of 3931b871c494 and dce7d10be4bb, in mm/madvise.c: a skip of more than the batch",
        shows="protection-changed",
    ),
    Mutant(
        name="batch-ignores-write",
        file="walk.py",
        find="CHANGE = FPB_RESPECT_SOFT_DIRTY | FPB_RESPECT_WRITE\n",
        replace="CHANGE = FPB_RESPECT_SOFT_DIRTY\n",
        why="a read-only first entry decides that no writable one of the batch needs a flush",
        origin="f822a9a81a31, fixed by 04d1c9d60c6e (v6.18-rc), in mm/mremap.c",
        shows="flush-missing",
    ),
    Mutant(
        name="batch-ignores-soft-dirty",
        file="walk.py",
        find="CHANGE = FPB_RESPECT_SOFT_DIRTY | FPB_RESPECT_WRITE\n",
        replace="CHANGE = FPB_RESPECT_WRITE\n",
        why="the soft-dirty bit of the first entry is written over the whole batch",
        origin="354dffd29575, fixed by 29f40594a281, in mm/rmap.c",
        shows="soft-dirty-lost",
        arches=("x86_64", "powerpc"),
    ),
    # What is written, and where.
    Mutant(
        name="new-not-advanced",
        file="commit.py",
        find="    new_at = new + idx * arch.pfn_step(masks, new)\n",
        replace="    new_at = new\n",
        why="each sub-batch starts with the page of the batch again",
        origin="class: prot_commit_flush_ptes() that does not advance ptent",
        shows="pfn-changed",
    ),
    Mutant(
        name="entry-not-advanced",
        file="commit.py",
        find="    at = index + idx\n",
        replace="    at = index\n",
        why="each sub-batch is written over the first one, and its own entries stay cleared",
        origin="class: prot_commit_flush_ptes() that does not advance ptep",
        shows="entry-lost",
    ),
    # What is flushed.
    Mutant(
        name="old-not-merged",
        file="walk.py",
        find=(
            "    old = arch.modify_prot_start_ptes(state, masks, index, nr)\n"
            "    new = arch.pte_modify(masks, old)\n"
        ),
        replace=(
            "    first = arch.ptep_get(state, index)\n"
            "    new = arch.pte_modify(masks, arch.modify_prot_start_ptes(state, masks, index, nr))\n"
            "    old = first\n"
        ),
        why="decides on the flush by the first entry as it was before the merge",
        origin="class: oldpte of the detection handed on, not what modify_prot_start_ptes() returned",
        shows="flush-unneeded",
    ),
    Mutant(
        name="flush-one-page",
        file="commit.py",
        find="        tlb.flush(state, address, nr)\n",
        replace="        tlb.flush(state, address, ONE)\n",
        why="flushes PAGE_SIZE, whatever the length of the batch",
        origin="class: tlb_flush_pte_range(tlb, addr, PAGE_SIZE) left as it was before cac1db8c3aad",
        shows="flush-missing",
    ),
    Mutant(
        name="flush-not-advanced",
        file="commit.py",
        find="    address = call.table_addr + (index + idx << call.page_shift)\n",
        replace="    address = call.table_addr + (index << call.page_shift)\n",
        why="flushes each sub-batch at the address of the first one",
        origin="class: prot_commit_flush_ptes() that does not advance addr",
        shows="flush-missing",
    ),
    Mutant(
        name="flush-decided-too-early",
        file="commit.py",
        find="    if arch.pte_needs_flush(masks, old_at, new_at):\n",
        replace="    if arch.pte_needs_flush(masks, old_at, new + idx * arch.pfn_step(masks, new)):\n",
        why="decides on the flush by the word before the write upgrade",
        origin="class: pte_needs_flush() of another word than the one written",
        shows="flush-missing",
    ),
    Mutant(
        name="flush-always",
        file="commit.py",
        find="    if arch.pte_needs_flush(masks, old_at, new_at):\n",
        replace="    if True:\n",
        why="flushes every batch, whether the TLB must know or not",
        origin="class: pte_needs_flush() not asked, as it was before v5.19",
        shows="flush-unneeded",
    ),
    Mutant(
        name="flush-hull",
        file="commit.py",
        find="        tlb.flush(state, address, nr)\n",
        replace=(
            "        if state.counts[tlb.NR_FLUSHES] == 0:\n"
            "            tlb.flush(state, address, nr)\n"
            "        else:\n"
            "            first = state.flushes[0, 1]\n"
            "            state.flushes[0, 2] = (address - first >> call.page_shift) + nr\n"
        ),
        why="flushes from the first to the last page that needs it, and what lies between",
        origin="class: requests merged by the walk; __tlb_adjust_range() does it behind it",
        shows="flush-unneeded",
    ),
    Mutant(
        name="flush-old-not-advanced",
        file="commit.py",
        find="    old_at = old + idx * arch.pfn_step(masks, old)\n",
        replace="    old_at = old\n",
        why="compares with the page of the batch's first entry, so sub-batches seem to move",
        origin="class: prot_commit_flush_ptes() that does not advance oldpte",
        shows="flush-unneeded",
    ),
    Mutant(
        name="flush-length-from-batch-start",
        file="commit.py",
        find="        tlb.flush(state, address, nr)\n",
        replace="        tlb.flush(state, address, idx + nr)\n",
        why="flushes a sub-batch for the length up to its end, past the end of the range",
        origin="class: length and end mixed up in prot_commit_flush_ptes()",
        shows="flush-outside",
    ),
    # What is counted and reported.
    Mutant(
        name="stale-nr",
        file="walk.py",
        find=(
            "    while index < end:\n"
            "        nr = ONE_ENTRY\n"
            "        pte = arch.ptep_get(state, index)\n"
            "        if arch.pte_present(pte):\n"
        ),
        replace=(
            "    nr = ONE_ENTRY\n"
            "    while index < end:\n"
            "        pte = arch.ptep_get(state, index)\n"
            "        if arch.pte_present(pte):\n"
            "            nr = ONE_ENTRY\n"
        ),
        why="the length of a batch is used for a none or swap entry behind it, too",
        origin="354dffd29575, fixed by 3f8968e9cbf9, in mm/rmap.c",
        shows="pages-wrong",
    ),
    Mutant(
        name="batch-counts-once",
        file="walk.py",
        find="                    pages += np.int64(nr)\n",
        replace="                    pages += 1\n",
        why="counts batches, not entries",
        origin="class: pages++ left as it was before cac1db8c3aad",
        shows="pages-wrong",
    ),
    Mutant(
        name="pages-of-first-sub-batch",
        file="walk.py",
        find="                    pages += np.int64(nr)\n",
        replace=(
            "                    counted = ONE_ENTRY\n"
            "                    if needs_folio and folio.listed:\n"
            "                        row = folio.following - ONE_ENTRY\n"
            "                        page = np.uint64(state.folios[row].first_page) + pfn - folio.start\n"
            "                        while (\n"
            "                            counted < nr\n"
            "                            and state.exclusive[page + counted] == state.exclusive[page]\n"
            "                        ):\n"
            "                            counted += ONE_ENTRY\n"
            "                    pages += np.int64(counted)\n"
        ),
        why="counts a batch up to where the exclusivity of its pages first changes",
        origin="class: pages counted where a sub-batch is committed",
        shows="pages-wrong",
    ),
    Mutant(
        name="pages-in-seven-bits",
        file="walk.py",
        find="                    pages += np.int64(nr)\n",
        replace="                    pages += np.int64(nr & np.uint64(0x7F))\n",
        why="counts a batch of 128 entries or more in a type that is too narrow for it",
        origin="class: counts in types of several widths, as before a79390f5d6a7 (v6.3)",
        shows="pages-wrong",
    ),
    Mutant(
        name="node-in-three-bits",
        file="folios.py",
        find="facts.toptier_nodes >> np.uint64(nid) & ONE != NONE:",
        replace="facts.toptier_nodes >> np.uint64(nid & 7) & ONE != NONE:",
        why="takes a node of a large machine for one of its first eight",
        origin="class: counts in types of several widths, as before a79390f5d6a7 (v6.3)",
        shows="protection-changed",
    ),
    Mutant(
        name="skip-counts",
        file="walk.py",
        find=(
            "                            arch, state, masks, index, pte, folio, max_nr, SKIP\n"
            "                        )\n"
        ),
        replace=(
            "                            arch, state, masks, index, pte, folio, max_nr, SKIP\n"
            "                        )\n"
            "                        pages += np.int64(nr)\n"
        ),
        why="counts the entries that a NUMA scan skips",
        origin="class: one count for both uses of a batch",
        shows="pages-wrong",
    ),
    Mutant(
        name="bad-map-zero-page",
        file="folios.py",
        find="        if arch.pte_pfn(masks, pte) == call.zero_pfn:\n            return False\n",
        replace="",
        why="reports the zero page as a bad mapping",
        origin="class: vm_normal_page() without its special cases",
        shows="bad-map-wrong",
    ),
    Mutant(
        name="upgrade-unasked",
        file="walk.py",
        find="    if asks(call, MM_CP_TRY_CHANGE_WRITABLE) and not arch.pte_write(new):\n",
        replace="    if not arch.pte_write(new):\n",
        why="tries to make entries writable where no caller asked for it, and warns of VM_WRITE",
        origin="class: MM_CP_TRY_CHANGE_WRITABLE ignored",
        shows="warn-wrong",
    ),
    Mutant(
        name="stamp-before-decision",
        file="folios.py",
        find="    if flags & (FOLIO_ZONE_DEVICE | FOLIO_KSM) != NONE:\n",
        replace=(
            "    if facts.numa_balancing != 0 and flags & FOLIO_ACCESS_TIME != NONE:\n"
            "        side_effects.access_time(state, folio.start)\n"
            "    if flags & (FOLIO_ZONE_DEVICE | FOLIO_KSM) != NONE:\n"
        ),
        why="stamps the access time of folios that the NUMA scan then skips",
        origin="class: order of folio_can_map_prot_numa()",
        shows="access-time-wrong",
    ),
    Mutant(
        name="stamp-per-page",
        file="folios.py",
        find="        side_effects.access_time(state, folio.start)\n",
        replace=(
            "        for _ in range(folio.start, folio.end):\n"
            "            side_effects.access_time(state, folio.start)\n"
        ),
        why="stamps a folio once for each of its pages: the right set of stamps, without bound",
        origin="class: a side effect of the folio done by the page",
        shows="log-overflow",
    ),
    Mutant(
        name="stamp-clears-flag",
        file="folios.py",
        find="        side_effects.access_time(state, folio.start)\n",
        replace=(
            "        side_effects.access_time(state, folio.start)\n"
            "        state.folios[folio.following - ONE].folio_flags &= ~FOLIO_ACCESS_TIME\n"
        ),
        why="writes to the folio, so that it is stamped once only",
        origin="class: state of the folio kept by the walk",
        shows="input-changed",
    ),
    # Rules for one entry.
    Mutant(
        name="numa-changes-pinned",
        file="folios.py",
        find="    if (is_cow_mapping(call) or facts.pinned_in_any_vma != 0) and flags & FOLIO_PINNED != NONE:\n",
        replace="    if is_cow_mapping(call) and flags & FOLIO_PINNED != NONE:\n",
        why="a NUMA scan changes pinned folios of shared VMAs",
        origin="as before 480acbd8ba9e (v6.19)",
        shows="skipped-changed",
    ),
    Mutant(
        name="numa-keeps-write",
        file="walk.py",
        find="    new = arch.pte_modify(masks, old)\n    if asks(call, UFFD_SET):\n",
        replace=(
            "    new = arch.pte_modify(masks, old)\n"
            "    if asks(call, MM_CP_PROT_NUMA) and arch.pte_write(old):\n"
            "        new = arch.pte_mkwrite(masks, new)\n"
            "    if asks(call, UFFD_SET):\n"
        ),
        why="a NUMA scan keeps the write permission in entries that it makes inaccessible",
        origin="class: a saved write bit, as kernels had before 6a56ccbcf6c6 (v6.2)",
        shows="write-gained",
    ),
    Mutant(
        name="upgrade-judged-on-old",
        file="commit.py",
        find="    upgrade = maybe_change_pte_writable(arch, state, call, masks, new)\n",
        replace="    upgrade = maybe_change_pte_writable(arch, state, call, masks, old)\n",
        why="asks whether the old entry may become writable, not the new one",
        origin="class: can_change_pte_writable() of oldpte",
        shows="write-lost",
    ),
    Mutant(
        name="soft-dirty-test-inverted",
        file="commit.py",
        find="    if not vma_has(call, VM_SOFTDIRTY) and not arch.pte_soft_dirty(masks, pte):\n",
        replace="    if vma_has(call, VM_SOFTDIRTY) and not arch.pte_soft_dirty(masks, pte):\n",
        why="takes VM_SOFTDIRTY for tracking, which it says is off",
        origin="64fe24a3e05e, fixed by 76aefad628aa (2022)",
        shows="write-gained",
    ),
    Mutant(
        name="upgrade-ignores-uffd",
        file="commit.py",
        find="    return not (vma_has(call, VM_UFFD_WP) and arch.pte_uffd(masks, pte))\n",
        replace="    return True\n",
        why="makes entries writable that userfaultfd protects",
        origin="fixed by f1eb1bacfba9 and 51d3d5eb74ff (v6.2)",
        shows="write-gained",
        arches=("x86_64", "arm64"),
    ),
    # Equivalent: no judge may see them.
    Mutant(
        name="batch-of-one",
        file="detect.py",
        find="    while nr < max_nr:\n",
        replace="    while nr < ONE:\n",
        why="never batches, which is slow and legal",
        origin="as before cac1db8c3aad (v6.17)",
        shows="",
        # On arm64 the last entry of a block may then fold it, which its batch may not.
        arches=("x86_64", "powerpc"),
        proof=(
            "Each entry is then changed by its own bits, and flushed as these need it: the first of the two "
            "variants that the relation takes for legal. What is done once for each entry and not once for "
            "each batch, stamps and warnings, is compared as a set. midfolio exhaust finds every table as the "
            "reference leaves it."
        ),
    ),
    Mutant(
        name="skip-by-shorter-batches",
        file="walk.py",
        find="SKIP = np.uint64(0)\n",
        replace="SKIP = CHANGE\n",
        why="skips by batches that agree in more bits than they need to",
        origin="class: one set of FPB_ flags for both uses",
        shows="",
        proof=(
            "Whether an entry is skipped hangs on the call, on its folio, and on whether it is PROT_NONE. All "
            "entries of the longer batch agree in the three, so each of the shorter ones is skipped, too, and a "
            "skip leaves no trace. midfolio exhaust gives it the digest of the unchanged side."
        ),
    ),
)
