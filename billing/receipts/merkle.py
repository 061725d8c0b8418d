"""Merkle trees as in Certificate Transparency (RFC 6962, section 2.1): SHA-256, with prefixes that
tell leaves from nodes.

RFC 6962 splits at the largest power of two below the size. That gives the same tree as joining
neighbors level by level, where the last of an odd number rises unchanged.
"""

from collections.abc import Sequence
from hashlib import sha256

HASH_BYTES = 32
# A tree is kept as the roots of its chunks: whole subtrees, except the last.
CHUNK_LEAVES = 1024


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node above two others."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root above leaves, or above whole subtrees of one size and a last smaller one."""
    level = list(hashes)
    while len(level) > 1:
        level = _level_above(level)
    return level[0] if level else sha256(b"").digest()


def path_of(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from one of `hashes` to their root, from the bottom up."""
    path: list[bytes] = []
    level = list(hashes)
    while len(level) > 1:
        neighbor = index ^ 1
        if neighbor < len(level):
            path.append(level[neighbor])
        level = _level_above(level)
        index //= 2
    return path


class Tree:
    """A tree that is built leaf by leaf, and keeps the roots of its chunks alone."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._leaves: list[bytes] = []

    def add(self, hashed: bytes) -> None:
        """Add the hash of the next leaf."""
        self._leaves.append(hashed)
        if len(self._leaves) == CHUNK_LEAVES:
            self._chunks.append(root_of(self._leaves))
            self._leaves.clear()

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._chunks) * CHUNK_LEAVES + len(self._leaves)

    @property
    def chunks(self) -> list[bytes]:
        """The roots of all chunks, the unfinished one's included."""
        return [*self._chunks, *([root_of(self._leaves)] if self._leaves else [])]

    @property
    def root(self) -> bytes:
        """The root of all leaves."""
        return root_of(self.chunks)


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    above = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*above, level[-1]] if len(level) % 2 else above
