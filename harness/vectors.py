"""Golden vectors, format "pte-vectors/1": JSON Lines, plain, gzip or xz.

Line 1 is a header, each further line one case with the outcome of each kernel.
Unknown fields are refused: a field that is silently ignored is a check that is
silently not made.
"""

import gzip
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from mm import flags

from .case import ARCHES, Call, Case, CaseError, Folio, Mm, Vma, layout_of

EXPECTATIONS = {
    "expect_6_12": "6.12",
    "expect_7_3": "7.3",
    "expect_7_3_bug": "7.3",
}


class VectorVma(msgspec.Struct, forbid_unknown_fields=True):
    """`vma` of a vector."""

    flags: list[str]
    anon: bool
    uffd_wp_unpopulated: bool
    uffd_wp_async: bool = False  # read by no rule


class VectorFolio(msgspec.Struct, forbid_unknown_fields=True):
    """One of `folios` of a vector."""

    pfn: str
    nr: int
    anon: bool
    ksm: bool
    zone_device: bool
    exclusive: str
    dirty: bool
    file_lru: bool
    maybe_mapped_shared: bool
    maybe_dma_pinned: bool
    nid: int
    use_access_time: bool


class VectorMm(msgspec.Struct, forbid_unknown_fields=True):
    """`mm` of a vector."""

    users: int
    numa_node: int
    numa_balancing_mode: int
    toptier_nodes: list[int]
    coprocessors: int = 0
    arch_31: bool = False


class Expectation(msgspec.Struct, forbid_unknown_fields=True):
    """The outcome of one kernel; a field that is None is not given, so not compared."""

    ptes: list[str]
    flush: list[tuple[str, int]]
    pages: int
    warns: list[str] = []
    bad_map: int = 0
    access_time: list[str] = []
    vm_warns: list[str] = []  # conditions that are compiled out; never compared
    batches: list[tuple[int, int]] | None = None
    subs: list[tuple[int, int, int]] | None = None
    tlbi: list[tuple[str, int, str]] | None = None
    raw_reads: int | None = None
    raw_writes: int | None = None
    raw_xchg: int | None = None


class VectorLine(msgspec.Struct, forbid_unknown_fields=True):
    """One case of a vector file."""

    id: int
    vma: VectorVma
    newprot: str
    cp: list[str]
    table_addr: str
    start: int
    end: int
    ptes: list[str]
    folios: list[VectorFolio]
    mm: VectorMm
    op: str = ""
    wild: bool = False
    tags: list[str] = []
    name: str = ""
    bug_reveals: bool | None = None
    expect_6_12: Expectation | None = None
    expect_7_3: Expectation | None = None
    expect_7_3_bug: Expectation | None = None


@dataclass(frozen=True, slots=True)
class Vector:
    """A golden vector: where it stands, its case, and what each kernel made of it."""

    path: str
    line: int
    id: int
    name: str
    wild: bool
    # The file numbers swap types as 6.12 does, not as 7.3 does.
    native_6_12: bool
    # The historical bug ends with other entries than the right code.
    bug_reveals: bool
    case: Case
    expect: dict[str, Expectation]


def _open(path: Path) -> IO[bytes] | gzip.GzipFile | lzma.LZMAFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


def read(path: Path) -> Iterator[Vector]:
    """The vectors of one file, in order.

    Raises CaseError with file and line for a file that is truncated, corrupt,
    of another format, or has a field that is not known.
    """
    line = 0
    try:
        with _open(path) as stream:
            header: dict[str, Any] = {}
            for line, text in enumerate(stream, 1):
                if line == 1:
                    header = _header(path, text)
                elif text.strip():
                    yield _vector(path, line, text, header)
            if line == 0:
                raise CaseError(f"{path}:1: empty file; line 1 must be a pte-vectors/1 header")
    except (OSError, EOFError, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CaseError(
            f"{path}:{line + 1}: {reason}; expected JSON Lines, plain, .gz or .xz"
        ) from None


def _header(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise CaseError(f"{path}:1: {error}; line 1 must be a pte-vectors/1 header") from None
    if not isinstance(header, dict) or header.get("format") != "pte-vectors/1":
        found = header.get("format") if isinstance(header, dict) else header
        raise CaseError(f"{path}:1: format {found!r} is not 'pte-vectors/1'")
    if header.get("arch") not in ARCHES:
        raise CaseError(
            f"{path}:1: unknown arch {header.get('arch')!r}; known: {', '.join(ARCHES)}"
        )
    return header


_DECODER = msgspec.json.Decoder(VectorLine)


def _vector(path: Path, line: int, text: bytes, header: dict[str, Any]) -> Vector:
    try:
        record = _DECODER.decode(text)
        case = _case(record, header)
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        what = f"unknown name {error}" if isinstance(error, KeyError) else str(error)
        raise CaseError(f"{path}:{line}: {what}") from None
    broken = case.check()
    if broken:
        raise CaseError(f"{path}:{line}: {broken}")
    expect = {name: e for name in EXPECTATIONS if (e := getattr(record, name)) is not None}
    native = str(header.get("swap_type_numbering_of_this_file", "7.3")).startswith("6.12")
    reveals = record.bug_reveals
    if reveals is None:
        right, bug = record.expect_7_3, record.expect_7_3_bug
        reveals = right is not None and bug is not None and right.ptes != bug.ptes
    return Vector(
        str(path), line, record.id, record.name, record.wild, native, reveals, case, expect
    )


def _case(record: VectorLine, header: dict[str, Any]) -> Case:
    headed = header.get("config", {})
    defaults = layout_of(header["arch"]).config
    config = defaults._replace(
        soft_dirty=bool(headed.get("MEM_SOFT_DIRTY", defaults.soft_dirty)),
        uffd_wp=bool(headed.get("HAVE_ARCH_USERFAULTFD_WP", defaults.uffd_wp)),
        numa_balancing=bool(headed.get("NUMA_BALANCING", True)),
        zero_pfn=int(header["zero_pfn"], 16),
        highest_memmap_pfn=int(header["highest_memmap_pfn"], 16),
        page_shift=header.get("page_shift", defaults.page_shift),
        coprocessors=record.mm.coprocessors,
        isa_31=record.mm.arch_31,
    )
    folios = [
        Folio(
            pfn=int(f.pfn, 16),
            nr_pages=f.nr,
            flags=sum(int(v) for name, v in flags.FOLIO_FLAGS.items() if getattr(f, name)),
            nid=f.nid,
            exclusive=int(f.exclusive, 16),
        )
        for f in record.folios
    ]
    return Case(
        arch=header["arch"],
        kernel="7.3",
        config=config,
        vma=Vma(
            flags=sum(int(flags.VM_FLAGS[name]) for name in record.vma.flags),
            anon=record.vma.anon,
            uffd_wp_unpopulated=record.vma.uffd_wp_unpopulated,
        ),
        call=Call(
            cp_flags=sum(int(flags.CP_FLAGS[name]) for name in record.cp),
            newprot=int(record.newprot, 16),
            start=record.start,
            end=record.end,
        ),
        table_addr=int(record.table_addr, 16),
        ptes=tuple(int(word, 16) for word in record.ptes),
        folios=tuple(sorted(folios, key=lambda folio: folio.pfn)),
        mm=Mm(
            users=record.mm.users,
            numa_node=record.mm.numa_node,
            numa_balancing_mode=record.mm.numa_balancing_mode,
            toptier_nodes=sum(1 << node for node in record.mm.toptier_nodes),
        ),
    )
