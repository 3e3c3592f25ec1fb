"""Trit codec 3, stratified gap rANS: CODECS.md, section 3."""

from .bits import BitReader, VarintReader
from .errors import invalid

LOW = 1 << 16

# Section 3.4.
THRESHOLDS = [
    4096, 4467, 4871, 5312, 5793, 6317, 6889, 7512, 8192, 8933, 9742, 10624, 11585,
    12634, 13777, 15024, 16384, 17867, 19484, 21247, 23170, 25268, 27554, 30048, 32768,
]  # fmt: skip
RATIOS = """
0ada82eb 1f332114 31db73eb 42f75c61 52a7c116 610acd9f 6e3c2c8c 7a553c98
856d4175 8f99908a 98edb9f5 a17bae30 a953e08b b08566d0 b71e1646 bd2a9e4c
c2b6a0bb c7ccc845 cc76dcfb d0bdd718 d4a9f045 d842b368 db8f0b23 de954f26
c7ffc971 cc42756a d039d6f4 d3e9e12e d75689c5 da83bc9c dd755205 e02f0735
""".split()


def _table(ratio: int):
    """(start of each symbol and 4096, the escape symbol, the symbol of each slot)"""
    starts, rest = [0], 1 << 32
    while True:
        rest = (rest * ratio + (1 << 31)) >> 32
        following = 4096 - ((4096 * rest + (1 << 31)) >> 32)
        if following <= starts[-1] or 4096 - following < 2 or len(starts) - 1 == 62:
            break
        starts.append(following)
    escape = len(starts) - 1
    starts.append(4096)
    symbols = [h for h in range(escape + 1) for _ in range(starts[h], starts[h + 1])]
    return starts, escape, symbols


TABLES = [_table(int(ratio, 16)) for ratio in RATIOS]


def pick_table(cells: int, nonzeros: int):
    ratio = 4096 * cells // nonzeros
    shift = 0
    while ratio >= THRESHOLDS[24] << shift:
        shift += 1
    index = max(i for i in range(24) if THRESHOLDS[i] <= ratio >> shift)
    return TABLES[index if shift == 0 else 24 + index - 16], shift


# ---- side information, section 3.1 ----


def side_length(data: bytes, at: int, rows: int, cols: int) -> int:
    return _read_side(data, at, rows, cols)[1]


def _max_class_bits(length: int, cols: int) -> int:
    if cols > 1 << 18 or length > 1 << 20:
        return 0
    return min(3, length.bit_length() - 1)


def _read_side(data: bytes, at: int, rows: int, cols: int):
    """((row classes or None, Kr, column classes or None, Kc), length)"""
    bits = BitReader(data, at, len(data))
    row_bits, col_bits, reserved = bits.read(2), bits.read(2), bits.read(4)
    if reserved or row_bits > _max_class_bits(rows, cols) or col_bits > _max_class_bits(cols, cols):
        raise invalid("a mode byte that does not fit the tensor")
    row_classes = _class_map(bits, rows, 1 << row_bits) if row_bits else None
    col_classes = _class_map(bits, cols, 1 << col_bits) if col_bits else None
    return (row_classes, 1 << row_bits, col_classes, 1 << col_bits), bits.finish() - at


def _class_map(bits: BitReader, length: int, classes: int):
    classes_of = [0] * length

    def node(members, low, high):
        if high - low == 1 or not members:
            return
        middle = (low + high) // 2
        r, minority_is_upper = bits.read(3), bits.read(1)
        count = bits.read((len(members) // 2).bit_length())
        if count > len(members) // 2:
            raise invalid("a minority that is none")
        listed, at = set(), -1
        for _ in range(count):
            at += (bits.unary(len(members) >> r) << r) + bits.read(r) + 1
            if at >= len(members):
                raise invalid("a listed member past the last")
            listed.add(at)
        upper = [m for i, m in enumerate(members) if (i in listed) == bool(minority_is_upper)]
        lower = [m for i, m in enumerate(members) if (i in listed) != bool(minority_is_upper)]
        for member in upper:
            classes_of[member] = middle
        node(lower, low, middle)
        node(upper, middle, high)

    node(list(range(length)), 0, classes)
    return classes_of


# ---- frames, sections 3.2 to 3.6 ----


class _Stratum:
    """Entries of one row class and one column class; `rows` and `cols` are None where a part is one stratum."""

    def __init__(self, part, rows, cols, cells):
        self.part, self.rows, self.cols, self.cells = part, rows, cols, cells

    def position(self, index: int) -> int:
        if self.rows is None:
            return index
        row, col = divmod(index, len(self.cols))
        return self.rows[row] * self.part.cols + self.cols[col]


def _strata(part):
    (row_classes, kr, col_classes, kc), length = _read_side(part.side, 0, part.rows, part.cols)
    if length != len(part.side):
        raise invalid("side information of another length than it says")
    if kr == kc == 1:
        return [_Stratum(part, None, None, part.cells)]
    first, rows = part.start // part.cols, part.cells // part.cols
    own = row_classes[first : first + rows] if row_classes else [0] * rows
    rows_of = [[i for i, c in enumerate(own) if c == a] for a in range(kr)]
    col_list = col_classes or [0] * part.cols
    cols_of = [[j for j, c in enumerate(col_list) if c == b] for b in range(kc)]
    pairs = [(r, c) for r in rows_of for c in cols_of]
    return [_Stratum(part, r, c, len(r) * len(c)) for r, c in pairs if r and c]


def decode_frame(data: bytes, parts):
    lengths = VarintReader(data, 0, len(data))
    head_length, rans_length = lengths.next(), lengths.next()
    head_at = lengths.at
    rans_at = head_at + head_length
    raw_at = rans_at + rans_length
    if raw_at > len(data) or rans_length < 8 or rans_length % 2:
        raise invalid("sections that do not fit the frame")
    strata = [_strata(part) for part in parts]
    head = VarintReader(data, head_at, rans_at)
    counted, raw_bits = [], 0
    for stratum in (one for of_part in strata for one in of_part):
        count = head.next()
        if count > stratum.cells:
            raise invalid(f"{count} non-zeros in a stratum of {stratum.cells} entries")
        table, shift = pick_table(stratum.cells, count) if count else (None, 0)
        raw_bits += count * (shift + 1)
        counted.append((stratum, count, table, shift))
    if len(data) - raw_at != (raw_bits + 7) // 8:
        raise invalid("a raw section of another length than its counts ask for")
    raw = BitReader(data, raw_at, len(data))
    symbols = _Symbols(data[rans_at:raw_at])
    found = {id(part): [] for part in parts}
    for stratum, count, table, shift in counted:
        index = -1
        for _ in range(count):
            high = symbols.next(table, head)
            sign = -1 if raw.read(1) else 1
            index += (high << shift) + raw.read(shift) + 1
            if index >= stratum.cells:
                raise invalid("a position past the end of its stratum")
            found[id(stratum.part)].append((stratum.position(index), sign))
    symbols.finish()
    if head.at != head.end:
        raise invalid("bytes behind the last escape")
    raw.finish()
    return [sorted(found[id(part)]) for part in parts]


class _Symbols:
    """The rANS section, section 3.6."""

    def __init__(self, section: bytes) -> None:
        self._section = section
        self._states = [int.from_bytes(section[0:4], "little"), int.from_bytes(section[4:8], "little")]
        self._at, self._turn = 8, 0
        if min(self._states) < LOW:
            raise invalid("a rANS state below 2^16")

    def next(self, table, escapes: VarintReader) -> int:
        starts, escape, symbols = table
        x = self._states[self._turn]
        slot = x & 4095
        h = symbols[slot]
        x = (starts[h + 1] - starts[h]) * (x >> 12) + slot - starts[h]
        if x < LOW:
            if self._at >= len(self._section):
                raise invalid("a rANS section that ends too early")
            x = x << 16 | int.from_bytes(self._section[self._at : self._at + 2], "little")
            self._at += 2
        self._states[self._turn] = x
        self._turn ^= 1
        if h < escape:
            return h
        high = escapes.next()
        if high < escape:
            raise invalid("an escape that has a symbol of its own")
        return high

    def finish(self) -> None:
        if self._at != len(self._section) or self._states != [LOW, LOW]:
            raise invalid("a rANS section that does not end where it began")
