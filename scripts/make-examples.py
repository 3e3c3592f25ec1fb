#!/usr/bin/env python3
"""Makes the adapters in examples/ from their fp32 originals: weights rounded once to bf16, config tidied.

Two adapters with a trained classifier each cannot be stacked into one, so `wnnoun` leaves its classifier out.

usage: make-examples.py FOLDER_WITH_ORIGINALS   (FOLDER/lora/<name>/adapter_model.safetensors, adapter_config.json)

Standard library only. Rounding is to nearest, ties to even, as every bf16 conversion in Tern.
"""

import json
import struct
import sys
from pathlib import Path

NAMES = ("debsection", "wnnoun")
WITHOUT_HEAD = ("wnnoun",)
HEAD = "base_model.model.classifier."
BASE = "sentence-transformers/all-MiniLM-L6-v2"
OUT = Path(__file__).resolve().parent.parent / "examples"


def to_bf16(f32_bytes: bytes) -> bytes:
    """Upper half of each binary32, rounded to nearest even. The originals hold no NaN, and none is expected."""
    out = bytearray()
    for (bits,) in struct.iter_unpack("<I", f32_bytes):
        if bits & 0x7F800000 == 0x7F800000:
            raise SystemExit("NaN or infinity in an original")
        out += struct.pack("<H", (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
    return bytes(out)


def read_safetensors(path: Path):
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    for name in sorted(header):
        start, end = header[name]["data_offsets"]
        yield name, header[name]["dtype"], header[name]["shape"], body[start:end]


def write_safetensors(path: Path, tensors) -> None:
    header, parts, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape, body in tensors:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + len(body)]}
        parts.append(body)
        offset += len(body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def main(originals: Path) -> None:
    for name in NAMES:
        source, target = originals / "lora" / name, OUT / name
        target.mkdir(parents=True, exist_ok=True)
        tensors = []
        for tensor, dtype, shape, body in read_safetensors(source / "adapter_model.safetensors"):
            if name in WITHOUT_HEAD and tensor.startswith(HEAD):
                continue
            if dtype != "F32":
                raise SystemExit(f"{tensor} is {dtype}, F32 expected")
            tensors.append((tensor, shape, to_bf16(body)))
        write_safetensors(target / "adapter_model.safetensors", tensors)
        config = json.loads((source / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = BASE
        config["modules_to_save"] = sorted(set(config["modules_to_save"]))
        if name in WITHOUT_HEAD:
            config["modules_to_save"] = None
            config["task_type"] = None
        config["target_modules"] = sorted(config["target_modules"])
        (target / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
