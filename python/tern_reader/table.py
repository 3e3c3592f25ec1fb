"""The table of contents: FORMAT.md, sections 5 and 6."""

import json
from typing import Dict, List, NamedTuple, Optional, Tuple

from .errors import invalid

MAX_DEPTH = 32
MAX_VALUES = 1 << 22
MAX_MEMBERS = MAX_TENSORS = 1 << 18
MAX_NAME, MAX_NAMES = 1 << 10, 1 << 25
MAX_DIMENSIONS = 64
MAX_INTEGER = (1 << 53) - 1
MAX_TRITS = (1 << 31) - 1
MAX_LOSSLESS = 1 << 34
MAX_LAYERS, MAX_WORTH = 8, 1 << 16

DTYPES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1,
    "F8_E5M2FNUZ": 1, "C64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
FLOATING = ("F64", "F32", "F16", "BF16")
STORAGES = ("lossless", "tensor", "row", "column")
KEYS = set(
    "kind origin base options metadata adapter_config base_names codec shared names type types layers references "
    "frames chunks crcs".split()
)


class Tensor(NamedTuple):
    name: str
    dtype: str
    shape: Tuple[int, ...]
    storage: str
    same_scales: int
    reference: Optional[int]

    @property
    def cols(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        return product(self.shape[:-1])

    @property
    def bytes(self) -> int:
        return product(self.shape) * DTYPES[self.dtype]


class Table(NamedTuple):
    header: dict
    base_names: Dict[str, str]
    codec: int
    tensors: List[Tensor]
    layers: List[int]
    frames: List[int]
    chunks: List[int]
    crcs: List[int]


def product(numbers) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def parse_table(data: bytes) -> Table:
    root = _parse_json(data)
    if not isinstance(root, dict):
        raise invalid("the table is not a JSON object")
    for key in root:
        if key not in KEYS:
            raise invalid(f"the table has an unknown key, {key}")
    names = _names(_integers(root, "shared", MAX_NAME), _column(root, "names"))
    return Table(
        header=_header(root),
        base_names=_base_names(root, names),
        codec=_integer(root.get("codec"), "codec", 255),
        tensors=_tensors(root, names),
        layers=_layers(root),
        frames=_integers(root, "frames"),
        chunks=_integers(root, "chunks"),
        crcs=_integers(root, "crcs", (1 << 32) - 1),
    )


def _layers(root: dict) -> List[int]:
    if "layers" not in root:
        return [1]
    layers = _integers(root, "layers", MAX_WORTH)
    if not 1 <= len(layers) <= MAX_LAYERS or layers[-1] < 1 or any(a <= b for a, b in zip(layers, layers[1:])):
        raise invalid("layers is not 1 to 8 numbers, each smaller than the one before")
    return layers


# ---- JSON ----


def _parse_json(data: bytes):
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        root = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_number,
            parse_constant=_no_constant,
        )
        _check_values(root)
    except ValueError as error:  # UnicodeError and JSONDecodeError are ValueErrors
        raise invalid(f"the table is no JSON of the kind allowed: {error}") from error
    return root


def _check_depth(text: str) -> None:
    depth, inside, escaped = 0, False, False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("nesting too deep")
        elif character in "]}":
            depth -= 1


def _object(pairs):
    if len(pairs) > MAX_MEMBERS:
        raise ValueError("an object of too many members")
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key given twice")
    return members


def _number(token):
    # Longer than any integer that a double holds, and "-0", are numbers but none of the integers a table uses.
    return float(token) if token == "-0" or len(token) > 20 else int(token)


def _no_constant(token):
    raise ValueError(f"{token} is no JSON")


def _check_values(root) -> None:
    count, waiting = 0, [root]
    while waiting:
        value = waiting.pop()
        count += _cost(value)
        if count > MAX_VALUES:
            raise ValueError("too many values")
        if isinstance(value, str):
            value.encode("utf-8")  # raises for half a surrogate pair
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            for key in value:
                key.encode("utf-8")
            waiting.extend(value.values())


def _cost(value) -> int:
    if isinstance(value, dict):
        return 16
    is_integer = type(value) is int and abs(value) <= MAX_INTEGER
    return 1 if value is None or isinstance(value, (bool, str)) or is_integer else 4


def _integer(value, what: str, most: int = MAX_INTEGER) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise invalid(f"{what} holds something that is no integer from 0 to {most}")
    return value


def _column(root: dict, key: str) -> list:
    column = root.get(key, [])
    if not isinstance(column, list):
        raise invalid(f"{key} is not an array")
    return column


def _integers(root: dict, key: str, most: int = MAX_INTEGER) -> List[int]:
    return [_integer(value, key, most) for value in _column(root, key)]


def _texts(value, key: str) -> Dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise invalid(f"{key} is not an object of texts")
    return value


# ---- the whole ----


def _header(root: dict) -> dict:
    if root.get("kind") not in ("lora", "ia3", "full") or root.get("origin") not in ("zero", "one", "base"):
        raise invalid("kind or origin is unknown")
    if not isinstance(root.get("options"), dict):
        raise invalid("options is not an object")
    base = root.get("base")
    if "base" in root:
        keys = set(_texts(base, "base"))
        if "digest" not in keys or keys - {"digest", "repo", "revision"}:
            raise invalid("base holds digest and, where known, repo and revision")
    if not isinstance(root.get("adapter_config", {}), dict):
        raise invalid("adapter_config is not an object")
    return {
        "kind": root["kind"],
        "origin": root["origin"],
        "base": base,
        "options": root["options"],
        "metadata": _texts(root.get("metadata", {}), "metadata"),
        "adapter_config": root.get("adapter_config"),
    }


def _base_names(root: dict, names: List[str]) -> Dict[str, str]:
    if "base_names" not in root:
        return {}
    stored = root["base_names"]
    if not isinstance(stored, dict):
        raise invalid("base_names is not an object")
    if set(stored) == {"map"}:
        return _texts(stored["map"], "base_names.map")
    if set(_texts(stored, "base_names")) != {"strip", "add"}:
        raise invalid("base_names holds either map or strip and add")
    strip, add = stored["strip"], stored["add"]
    exchanged = [name for name in names if name.startswith(strip)]
    added = len(add.encode("utf-8")) - len(strip.encode("utf-8"))
    if sum(len(name.encode("utf-8")) + added for name in exchanged) > MAX_NAMES:
        raise invalid("base_names makes too many bytes of names")
    return {name: add + name[len(strip) :] for name in exchanged}


# ---- tensors ----


def _names(shared: List[int], rest: list) -> List[str]:
    if len(shared) != len(rest) or len(rest) > MAX_TENSORS:
        raise invalid("names and shared are not one value per tensor, or too many")
    names, seen, total, before = [], set(), 0, ""
    for segments, tail in zip(shared, rest):
        if not isinstance(tail, str):
            raise invalid("names holds something that is no text")
        end = 0
        for _ in range(segments):
            dot = before.find(".", end)
            if dot < 0:
                raise invalid("more shared name segments than there are")
            end = dot + 1
        name = before[:end] + tail
        length = len(name.encode("utf-8"))
        total += length
        if length > MAX_NAME or total > MAX_NAMES:
            raise invalid("a name, or all names together, are too long")
        if name in seen:
            raise invalid(f"two tensors are named {name}")
        seen.add(name)
        names.append(name)
        before = name
    return names


def _tensors(root: dict, names: List[str]) -> List[Tensor]:
    types = [_type(value) for value in _column(root, "types")]
    column = _integers(root, "type", len(types) - 1)
    if len(column) != len(names):
        raise invalid("type is not one value per tensor")
    references = _column(root, "references")
    lossless = sum(types[index][2] == "lossless" for index in column)
    if references and len(references) != lossless:
        raise invalid("references is not one value per lossless tensor")
    waiting = iter(references)
    tensors = []
    for name, index in zip(names, column):
        dtype, shape, storage, same_scales = types[index]
        reference = next(waiting, None) if storage == "lossless" else None
        if reference is not None:
            _integer(reference, "references", (1 << 32) - 1)
        tensors.append(Tensor(name, dtype, shape, storage, same_scales, reference))
    return tensors


def _type(value) -> Tuple[str, Tuple[int, ...], str, int]:
    if not isinstance(value, list) or len(value) != 4:
        raise invalid("a type is not [dtype, shape, storage, same_scales]")
    dtype, shape, code, same_scales = value
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise invalid(f"dtype {dtype!r} is unknown")
    storage = _integer(code, "storage")
    if storage >= len(STORAGES):
        raise invalid(f"storage kind {storage} is unknown")
    _integer(same_scales, "same_scales", MAX_TENSORS)
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise invalid("a shape is no array, or of too many dimensions")
    dimensions = tuple(_integer(dimension, "a dimension") for dimension in shape)
    if product(d for d in dimensions if d) > MAX_INTEGER:
        raise invalid("a shape of 2^53 entries or more")
    _check_type(dtype, dimensions, storage, same_scales)
    return dtype, dimensions, STORAGES[storage], same_scales


def _check_type(dtype, shape, storage, same_scales) -> None:
    cols, rows = (shape[-1] if shape else 1), product(shape[:-1])
    if storage == 0:
        if same_scales:
            raise invalid("a lossless tensor with scales")
        if product(shape) * DTYPES[dtype] > MAX_LOSSLESS:
            raise invalid("a lossless tensor that is too large")
    elif dtype not in FLOATING:
        raise invalid(f"trits of dtype {dtype}")
    elif max(rows, cols, rows * cols) > MAX_TRITS:
        raise invalid("more than 2^31 - 1 trits")
