"""Makes test/parity/golden/compeft/fixtures.json: what numpy says about the trits and scales of the large fixtures.

    python scripts/golden/compeft.py FIXTURES_DIR > test/parity/golden/compeft/fixtures.json

Needs numpy 2.4.6 and nothing else. Shares no code with the TypeScript and finds its thresholds by sorting: flatten the
eligible tensors in name order, keep the ceil(density * d) largest magnitudes, ties to the lowest index, sigma unbiased.
"""
import hashlib
import json
import math
import struct
import sys

import numpy as np

DENSITIES = [0.05, 0.1, 0.5]


def read(path):
    """Name -> f32 array, for F32, F16 and BF16 safetensors."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    out = {}
    for name, info in header.items():
        start, end = info["data_offsets"]
        raw = data[start:end]
        if info["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[info["dtype"]]).astype(np.float32)
        out[name] = values.reshape(info["shape"])
    return out


def lora(path):
    return {n: v for n, v in read(path).items() if ".lora_A." in n or ".lora_B." in n}


def full(path, base_path):
    """tau of the weight matrices of the body: no norms, biases, embeddings, classifier."""
    base = read(base_path)
    tau = {}
    for name, value in read(path).items():
        body = value.ndim == 2 and not any(part in name for part in ("embed", "Norm", "classifier"))
        if body:
            tau[name] = value - base[name.removeprefix("bert.")]
    return tau


def keep(size, density):
    return math.ceil(density * size - 1e-9)


def trits(values, count):
    """int8 -1, 0, 1: the `count` largest magnitudes that are not zero, ties to the lowest index."""
    magnitudes = np.abs(values)
    order = np.argsort(-magnitudes, kind="stable")[:count]
    out = np.zeros(values.size, np.int8)
    out[order] = np.sign(values[order]).astype(np.int8)
    return out


def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def case(tau, names, flat, density):
    whole = trits(flat, keep(flat.size, density))
    kept = np.abs(flat[whole != 0]).astype(np.float64)
    norm = math.sqrt(float(np.sum(flat.astype(np.float64) ** 2)) / kept.size)
    each = [trits(tau[n].ravel(), keep(tau[n].size, density)) for n in names]
    return {
        "density": density,
        "kept": int(kept.size),
        "threshold": float(kept.min()),
        "ties_at_threshold": int(np.sum(np.abs(flat) == kept.min().astype(np.float32))),
        "sha256_global": digest(whole),
        "mean_scale": float(kept.mean()),
        "norm_scale": norm,
        "sha256_tensor": digest(np.concatenate(each)),
        "kept_tensor": int(sum(int(np.count_nonzero(t)) for t in each)),
    }


def expert(tau):
    names = sorted(tau)
    flat = np.concatenate([tau[n].ravel() for n in names])
    return {
        "tensors": len(names),
        "entries": int(flat.size),
        "exact_zeros": int(np.sum(flat == 0)),
        "sigma": float(np.std(flat.astype(np.float64), ddof=1)),
        "cases": [case(tau, names, flat, density) for density in DENSITIES],
    }


def svd_gauge(a, b):
    qb, rb = np.linalg.qr(b.astype(np.float64))
    qa, ra = np.linalg.qr(a.T.astype(np.float64))
    u, s, vt = np.linalg.svd(rb @ ra.T)
    return (np.sqrt(s)[:, None] * (vt @ qa.T)).astype(np.float32), ((qb @ u) * np.sqrt(s)).astype(np.float32)


def component_scales(a, b, density):
    """SVD gauge, threshold per factor, one scale per component with the norm of the product kept."""
    a2, b2 = svd_gauge(a, b)
    ta = trits(a2.ravel(), keep(a2.size, density)).reshape(a2.shape)
    tb = trits(b2.ravel(), keep(b2.size, density)).reshape(b2.shape)
    mean_a = (np.abs(a2) * np.abs(ta)).sum(1, dtype=np.float64) / np.maximum(1, np.abs(ta).sum(1))
    mean_b = (np.abs(b2) * np.abs(tb)).sum(0, dtype=np.float64) / np.maximum(1, np.abs(tb).sum(0))
    product = (tb * mean_b) @ (ta * mean_a[:, None])
    wanted = np.linalg.norm(b.astype(np.float64) @ a.astype(np.float64))
    scales = np.sqrt(mean_a * mean_b * wanted / np.linalg.norm(product))
    q = (tb * scales) @ (ta * scales[:, None])
    cosine = float(np.sum(q * (b.astype(np.float64) @ a.astype(np.float64))) / (np.linalg.norm(q) * wanted))
    return {
        "kept_a": np.abs(ta).sum(1).tolist(),
        "kept_b": np.abs(tb).sum(0).tolist(),
        "scales": scales.tolist(),
        "cosine": cosine,
    }


def pairs(adapter, count, density):
    out = {}
    for name in [n for n in sorted(adapter) if ".lora_A." in n][:count]:
        a, b = adapter[name], adapter[name.replace("lora_A", "lora_B")]
        out[name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")] = component_scales(a, b, density)
    return out


def main(fixtures):
    smol = lora(f"{fixtures}/lora-smollm2/debsection/adapter_model.safetensors")
    minilm = lora(f"{fixtures}/lora/debsection/adapter_model.safetensors")
    tau = full(f"{fixtures}/full/debsection/partial.safetensors", f"{fixtures}/base-minilm/model.safetensors")
    return {
        "made_by": "scripts/golden/compeft.py",
        "numpy": np.__version__,
        "lora-smollm2/debsection": expert(smol),
        "full/debsection": expert(tau),
        "svd_components": {
            "adapter": "lora/debsection",
            "density": 0.1,
            "modules": pairs(minilm, 6, 0.1),
        },
    }


if __name__ == "__main__":
    json.dump(main(sys.argv[1]), sys.stdout, indent=1)
    sys.stdout.write("\n")
