"""zstd runs: FORMAT.md, section 4. The structure of every frame is checked before a decoder sees it."""

import zstandard

from .errors import invalid

FRAME_RAW = 1 << 22
MAX_WINDOW = 1 << 22
MAX_BLOCK = 1 << 17
MAGIC = b"\x28\xb5\x2f\xfd"


def decompress(run: bytes, raw_length: int, what: str) -> bytes:
    """The raw bytes of a run; `raw_length` has been held against its limit by the caller."""
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    pieces = []
    for start, end, size in list(_frames(run, raw_length, what)):
        try:
            piece = decoder.decompress(run[start:end])
        except zstandard.ZstdError as error:
            raise invalid(f"{what}: {error}") from error
        if len(piece) != size:
            raise invalid(f"{what}: {len(piece)} bytes came out where {size} were promised")
        pieces.append(piece)
    return b"".join(pieces)


def _frames(run, raw_length, what):
    left, at = raw_length, 0
    while at < len(run):
        end, size = _read_frame(run, at, what)
        due = min(left, FRAME_RAW)
        if size != due or due == 0:
            raise invalid(f"{what}: a frame of {size} raw bytes where {due} are due")
        yield at, end, size
        left -= size
        at = end
    if left:
        raise invalid(f"{what}: {left} raw bytes are missing")


def _read_frame(run, start, what):
    def take(at, count):
        if at + count > len(run):
            raise invalid(f"{what}: a zstd frame that is cut off")
        return int.from_bytes(run[at : at + count], "little")

    if run[start : start + 4] != MAGIC:
        raise invalid(f"{what}: no zstd frame where one begins")
    descriptor = take(start + 4, 1)
    if descriptor & 0x18 or descriptor & 0x03 or not descriptor & 0x04:
        raise invalid(f"{what}: a zstd frame with a reserved bit, a dictionary or no checksum")
    single_segment = bool(descriptor & 0x20)
    at = start + 5
    if not single_segment:
        window = take(at, 1)
        at += 1
        base = 1 << (10 + (window >> 3))
        if base + (base >> 3) * (window & 7) > MAX_WINDOW:
            raise invalid(f"{what}: a zstd window that is too large")
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    if size_bytes == 0:
        raise invalid(f"{what}: a zstd frame that does not state its content size")
    size = take(at, size_bytes) + (256 if size_bytes == 2 else 0)
    return _blocks_end(take, at + size_bytes, what) + 4, size


def _blocks_end(take, at, what):
    while True:
        header = take(at, 3)
        kind, size = (header >> 1) & 3, header >> 3
        if kind == 3 or size > MAX_BLOCK:
            raise invalid(f"{what}: a zstd block with an invalid header")
        at += 3 + (1 if kind == 1 else size)
        take(at, 4)  # the checksum, or the next header and more, is there
        if header & 1:
            return at
