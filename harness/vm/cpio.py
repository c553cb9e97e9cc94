"""The archive that a kernel unpacks as its first file system: cpio, format newc.

Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's sources.
"""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
FIELDS = 13
HEADER = len(MAGIC) + FIELDS * 8
# What the size field can say.
MAX_SIZE = 0xFFFF_FFFF


@dataclass(frozen=True)
class Entry:
    """One file, folder, link or device of an archive; `path` is relative to its root."""

    path: str
    mode: int  # type and permissions, as in st_mode
    content: bytes | Path = b""  # a file's bytes, or the file that has them; a link's target
    mtime: int = 0  # in seconds
    device: tuple[int, int] = (0, 0)  # major and minor number

    def read(self) -> bytes:
        """The content."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


def file(path: str, content: bytes, *, executable: bool = False) -> Entry:
    """A regular file of `content`."""
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), content)


def folder(path: str) -> Entry:
    """A folder."""
    return Entry(path, stat.S_IFDIR | 0o755)


def link(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def on_disk(path: str, source: Path) -> Entry:
    """The file, folder or symbolic link `source`, with its mode and time, as `path`."""
    status = source.lstat()
    if stat.S_ISLNK(status.st_mode):
        return link(path, str(source.readlink()))
    content: bytes | Path = source if stat.S_ISREG(status.st_mode) else b""
    # The time matters: Python takes compiled code only if it is of its source's time.
    return Entry(path, status.st_mode, content, int(status.st_mtime))


def write(out: BinaryIO, entries: Iterable[Entry]) -> int:
    """Write an archive of `entries`, with the folders that they need, and return its size in bytes.

    Sorted by path; of two entries of one path the later counts. A path through
    a link is not followed: who makes the entries names the real place.
    """
    chosen = {entry.path: entry for entry in entries}
    for path in list(chosen):
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                chosen.setdefault(str(parent), folder(str(parent)))
    size = 0
    for inode, path in enumerate(sorted(chosen), start=1):
        size += _write_entry(out, chosen[path], inode)
    return size + _write_entry(out, Entry(TRAILER, 0), 0)


def _write_entry(out: BinaryIO, entry: Entry, inode: int) -> int:
    content = entry.read()
    if len(content) > MAX_SIZE:
        raise ValueError(f"{entry.path} has {len(content)} bytes; an archive holds {MAX_SIZE}")
    name = entry.path.encode() + b"\0"
    fields = (
        inode,
        entry.mode,
        0,  # owner
        0,  # group
        1,  # links
        entry.mtime & 0xFFFF_FFFF,
        len(content),
        0,  # the device that holds it, major and minor
        0,
        *entry.device,
        len(name),
        0,  # checksum, of another format
    )
    head = MAGIC + b"".join(b"%08x" % field for field in fields) + name
    blocks = (head, _padding(head), content, _padding(content))
    return sum(out.write(block) for block in blocks)


def _padding(block: bytes) -> bytes:
    return b"\0" * (-len(block) % 4)


def read(archive: BinaryIO) -> Iterator[Entry]:
    """The entries of an archive; ValueError with the place where it is none."""
    place = 0
    while True:
        head = archive.read(HEADER)
        if len(head) < HEADER or not head.startswith(MAGIC):
            raise ValueError(f"no newc header at byte {place}")
        fields = [int(head[at : at + 8], 16) for at in range(len(MAGIC), HEADER, 8)]
        _, mode, _, _, _, mtime, size, _, _, major, minor, name_size, _ = fields
        name = archive.read(name_size + -(HEADER + name_size) % 4)
        content = archive.read(size + -size % 4)[:size]
        if len(content) < size:
            raise ValueError(f"the entry at byte {place} ends early")
        path = name[: name_size - 1].decode()
        if path == TRAILER:
            return
        yield Entry(path, mode, content, mtime, (major, minor))
        place += HEADER + len(name) + size + -size % 4
