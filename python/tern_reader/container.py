"""Opening and reading a container: FORMAT.md."""

import hashlib
import math
import struct
import zlib
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from .codecs import NonZeros, Part, codec_by_id
from .errors import TernError, invalid
from .table import DTYPES, Table, Tensor, parse_table
from .values import decode, encode, join_planes, round32, split_scales, xor
from .zstd_run import decompress

MAGIC = b"TERN\r\n\x1a\n"
HEADER_BYTES = 64
MAX_TABLE, MAX_SCALES = 1 << 24, 1 << 26
FRAME_CELLS = 1 << 18
CHUNK = 1 << 22

# Gives (dtype, shape, bytes) of a tensor of the base, or raises KeyError.
Base = Callable[[str], Tuple[str, Tuple[int, ...], bytes]]


class Slice(NamedTuple):
    tensor: int
    start: int
    cells: int


class Span(NamedTuple):
    start: int
    end: int
    crc: int


def open_container(data: bytes) -> "Container":
    """Checks all of a file but its payload."""
    table_stored, table_raw, scales_stored, scales_raw, payload = _fixed_header(data)
    table_end = HEADER_BYTES + table_stored
    payload_at = table_end + scales_stored
    digest = hashlib.sha256(data[:40] + data[HEADER_BYTES:payload_at]).digest()
    if digest[:24] != data[40:64]:
        raise TernError("CHECKSUM_MISMATCH", "header, table or scales do not match their digest")
    table = parse_table(decompress(data[HEADER_BYTES:table_end], table_raw, "table"))
    codec = codec_by_id(table.codec)
    raw_scales = decompress(data[table_end:payload_at], scales_raw, "scales")
    return Container(data, table, codec, raw_scales, payload_at, payload)


def _fixed_header(data: bytes):
    if data[:8] != MAGIC[: len(data)] or len(data) < HEADER_BYTES:
        raise invalid("this is not a .tern file, or cut off")
    version, flags = struct.unpack_from("<HH", data, 8)
    if version != 1:
        raise TernError("CONTAINER_VERSION_UNSUPPORTED", f"version {version}")
    table_stored, table_raw, scales_stored, scales_raw, reserved, payload = struct.unpack_from("<IIIIIQ", data, 12)
    if flags or reserved:
        raise invalid("flags or reserved bits are set")
    if table_raw > MAX_TABLE or scales_raw > MAX_SCALES:
        raise invalid("table or scales are larger than allowed")
    if HEADER_BYTES + table_stored + scales_stored + payload != len(data):
        raise invalid("the parts do not make up the file")
    return table_stored, table_raw, scales_stored, scales_raw, payload


def plan_frames(shapes: List[Tuple[int, int]]) -> List[List[Slice]]:
    """FORMAT.md, section 8."""
    frames, current, room = [], [], FRAME_CELLS
    for tensor, (rows, cols) in enumerate(shapes):
        left = rows * cols
        while left:
            n = min(left, room) if cols > FRAME_CELLS else min(left, room // cols * cols)
            if n == 0:
                frames.append(current)
                current, room = [], FRAME_CELLS
                continue
            current.append(Slice(tensor, rows * cols - left, n))
            left -= n
            room -= n
    return frames + [current] if current else frames


class Container:
    """An open container. Made by open_container."""

    def __init__(self, data, table: Table, codec, raw_scales: bytes, payload_at: int, payload: int) -> None:
        self.header = table.header
        self.base_names = table.base_names
        self.tensors = table.tensors
        self.layers = table.layers
        self.codec, self._side_length, self._decode_frame = codec
        self._data = data
        self._trits = [t for t in table.tensors if t.storage != "lossless"]
        self._lossless = [t for t in table.tensors if t.storage == "lossless"]
        self._index = {t.name: i for i, t in enumerate(self._trits)}
        self._place(table, payload_at, payload)
        self._scales = _assign_scales(self._trits, raw_scales)
        self._decoded: Dict[int, List[NonZeros]] = {}
        self._sides: Dict[Tuple[int, int], bytes] = {}  # by layer and tensor

    def _place(self, table: Table, payload_at: int, payload: int) -> None:
        cells = sum(t.rows * t.cols for t in self._trits)
        if cells * len(self.layers) > FRAME_CELLS * len(table.frames):
            raise invalid("fewer frames than the trits take")
        one_layer = plan_frames([(t.rows, t.cols) for t in self._trits])
        self._per_layer = len(one_layer)
        self._plan = one_layer * len(self.layers)
        counts = [-(-t.bytes // CHUNK) for t in self._lossless]
        if len(self._plan) != len(table.frames) or sum(counts) != len(table.chunks):
            raise invalid("frames or chunks are not those that the shapes take")
        if 0 in table.frames:
            raise invalid("a trit frame of no bytes")
        frames, first = len(table.frames), self._per_layer
        lengths = table.frames[:first] + table.chunks + table.frames[first:]
        if len(table.crcs) != len(lengths) or sum(lengths) != payload:
            raise invalid("checksums or lengths do not match the payload")
        crcs = table.crcs[:first] + table.crcs[frames:] + table.crcs[first:frames]
        at, spans = payload_at, []
        for length, crc in zip(lengths, crcs):
            spans.append(Span(at, at + length, crc))
            at += length
        behind = first + len(table.chunks)
        self._frames, rest = spans[:first] + spans[behind:], spans[first:behind]
        self._chunks: Dict[str, List[Span]] = {}
        for tensor, count in zip(self._lossless, counts):
            self._chunks[tensor.name], rest = rest[:count], rest[count:]
            for i, span in enumerate(self._chunks[tensor.name]):
                if not 1 <= span.end - span.start <= min(CHUNK, tensor.bytes - i * CHUNK):
                    raise invalid(f"chunk {i} of {tensor.name} has an impossible length")

    def tensor(self, name: str) -> Tensor:
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def verify(self) -> None:
        """Reads and decodes everything; differences to a base are decoded as such."""
        for tensor in self._trits:
            for layer in range(len(self.layers)):
                self.read_trits(tensor.name, layer)
        for tensor in self._lossless:
            for i in range(len(self._chunks[tensor.name])):
                self._chunk(tensor, i)

    # ---- trits ----

    def read_trits(self, name: str, layer: int = 0) -> NonZeros:
        """The non-zeros of one layer of a tensor: (flat index, +1 or -1), ascending."""
        index = self._index[name]
        found = []
        for number in range(layer * self._per_layer, (layer + 1) * self._per_layer):
            for position, piece in enumerate(self._plan[number]):
                if piece.tensor == index:
                    decoded = self._frame(number)[position]
                    found.extend((piece.start + at, sign) for at, sign in decoded)
        return found

    def scale(self, name: str, index: int) -> float:
        """The scale of the entry with this flat index."""
        number = self._index[name]
        tensor, scales = self._trits[number], self._scales[number]
        if tensor.storage == "tensor":
            return scales[0]
        return scales[index // tensor.cols if tensor.storage == "row" else index % tensor.cols]

    def _frame(self, number: int) -> List[NonZeros]:
        if number not in self._decoded:
            stored = self._stored(self._frames[number], f"trit frame {number}")
            body = self._read_sides(number, stored)
            parts = []
            layer = number // self._per_layer
            for piece in self._plan[number]:
                tensor = self._trits[piece.tensor]
                if (layer, piece.tensor) not in self._sides:  # it began in an earlier frame
                    begin = layer * self._per_layer
                    first = next(i for i in range(begin, number) if self._plan[i][-1].tensor == piece.tensor)
                    self._read_sides(first, self._stored(self._frames[first], f"trit frame {first}"))
                side = self._sides[layer, piece.tensor]
                parts.append(Part(tensor.rows, tensor.cols, piece.start, piece.cells, side))
            decoded = self._decode_frame(stored[body:], parts)
            for part, found in zip(parts, decoded):
                indices = {at for at, _ in found}
                if len(indices) != len(found) or any(at >= part.cells for at in indices):
                    raise invalid("a position that comes twice or lies outside")
            self._decoded = {number: decoded}  # one frame at a time is enough, and bounds the memory
        return self._decoded[number]

    def _read_sides(self, number: int, stored: bytes) -> int:
        at = 0
        for piece in self._plan[number]:
            if piece.start == 0:
                tensor = self._trits[piece.tensor]
                length = self._side_length(stored, at, tensor.rows, tensor.cols)
                self._sides[number // self._per_layer, piece.tensor] = stored[at : at + length]
                at += length
        return at

    def _stored(self, span: Span, what: str) -> bytes:
        stored = self._data[span.start : span.end]
        if zlib.crc32(stored) != span.crc:
            raise TernError("CHECKSUM_MISMATCH", what)
        return stored

    # ---- lossless ----

    def _chunk(self, tensor: Tensor, number: int, reference: Optional[bytes] = None) -> bytes:
        what = f"chunk {number} of {tensor.name}"
        stored = self._stored(self._chunks[tensor.name][number], what)
        raw_length = min(CHUNK, tensor.bytes - number * CHUNK)
        if len(stored) == raw_length:
            return stored
        raw = join_planes(decompress(stored, raw_length, what), DTYPES[tensor.dtype])
        return raw if reference is None else xor(raw, reference[number * CHUNK : number * CHUNK + raw_length])

    def _reference(self, tensor: Tensor, base: Optional[Base]) -> Optional[bytes]:
        if tensor.reference is None:
            return None
        _, _, data = self._base_tensor(tensor, base)
        if len(data) != tensor.bytes or zlib.crc32(data) != tensor.reference:
            raise TernError("BASE_MISMATCH", f"the base's {tensor.name} is another")
        return data

    def _base_tensor(self, tensor: Tensor, base: Optional[Base]):
        if base is None:
            raise TernError("BASE_REQUIRED", tensor.name)
        try:
            dtype, shape, data = base(self.base_names.get(tensor.name, tensor.name))
        except KeyError as error:
            raise TernError("BASE_MISMATCH", f"the base has no {tensor.name}") from error
        if tuple(shape) != tensor.shape:
            raise TernError("BASE_MISMATCH", f"the base's {tensor.name} has the shape {shape}")
        return dtype, shape, data

    # ---- values ----

    def read(self, name: str, base: Optional[Base] = None, gain: float = 1.0) -> bytes:
        """The tensor's bytes, little-endian, as an ordinary safetensors file holds them."""
        tensor = self.tensor(name)
        if tensor.storage == "lossless":
            reference = self._reference(tensor, base)
            return b"".join(self._chunk(tensor, i, reference) for i in range(len(self._chunks[name])))
        # Before the base is asked for: a tensor may be damaged and want the base too.
        found = [self.read_trits(name, layer) for layer in range(len(self.layers))]
        origin = self.header["origin"]
        size = DTYPES[tensor.dtype]
        if origin == "base":
            dtype, _, data = self._base_tensor(tensor, base)
            around = decode(data, dtype)
            out = bytearray(b"".join(encode(value, tensor.dtype) for value in around))
        else:
            value = 1.0 if origin == "one" else 0.0
            around = [value] * (tensor.rows * tensor.cols)
            out = bytearray(encode(value, tensor.dtype) * len(around))
        touched = set()
        for worth, trits in zip(self.layers, found):
            for index, sign in trits:
                change = sign * round32(self.scale(name, index) * (worth * gain))
                around[index] = round32(around[index] + change)
                touched.add(index)
        for index in touched:
            out[index * size : (index + 1) * size] = encode(around[index], tensor.dtype)
        return bytes(out)

    def read_array(self, name: str, base: Optional[Base] = None, gain: float = 1.0):
        """The tensor as a numpy array of f32 (other dtypes than F64, F32, F16 and BF16 are refused)."""
        import numpy

        tensor = self.tensor(name)
        return numpy.array(decode(self.read(name, base, gain), tensor.dtype), numpy.float32).reshape(tensor.shape)


def _assign_scales(trits: List[Tensor], raw: bytes) -> List[List[float]]:
    """The scales of each trit tensor: its own part of the block, or those of a tensor before it. Section 7."""
    counts = [{"tensor": 1, "row": t.rows, "column": t.cols}[t.storage] for t in trits]
    own = [i for i, t in enumerate(trits) if t.same_scales == 0]
    singles = sum(counts[i] for i in own if trits[i].storage == "tensor")
    halves = sum(counts[i] for i in own if trits[i].storage != "tensor")
    for i, tensor in enumerate(trits):
        lender = i - tensor.same_scales
        if lender < 0 or counts[lender] != counts[i]:
            raise invalid(f"{tensor.name} has the scales of a tensor that has not as many")
        if (trits[lender].storage == "tensor") != (tensor.storage == "tensor"):
            raise invalid(f"{tensor.name} has the scales of a tensor of another kind")
    if 4 * singles + 2 * halves != len(raw):
        raise invalid("the scales block has another size than the tensors take")
    values = split_scales(raw, singles, halves)
    for value in values:
        if not 0 <= value < math.inf or math.copysign(1, value) < 0:
            raise invalid(f"a scale of {value}")
    single_at, half_at = 0, singles
    scales: List[List[float]] = []
    for i, tensor in enumerate(trits):
        if tensor.same_scales:
            scales.append(scales[i - tensor.same_scales])
        elif tensor.storage == "tensor":
            scales.append(values[single_at : single_at + 1])
            single_at += 1
        else:
            scales.append(values[half_at : half_at + counts[i]])
            half_at += counts[i]
    return scales
