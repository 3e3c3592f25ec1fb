"""CPU milliseconds of compressing n bf16 values the usual way in Python: kthvalue, sign * std, a loop for Golomb codes.

usage: pyref.py ENTRIES DENSITY, prints JSON. Needs torch.
"""
import json
import sys
import time

import torch


def timed(work):
    start = time.process_time()
    result = work()
    return result, (time.process_time() - start) * 1000


def golomb(gaps, negative, r):
    codes = []
    for gap, sign in zip(gaps, negative):
        codes.append("1" * (gap >> r) + "0" + format(gap & ((1 << r) - 1), f"0{r}b") + ("1" if sign else "0"))
    bits = "".join(codes)
    return int(bits, 2).to_bytes((len(bits) + 7) // 8, "big") if bits else b""


def main():
    entries, density = int(sys.argv[1]), float(sys.argv[2])
    torch.set_num_threads(1)
    tau = torch.empty(entries).normal_(0, 0.02, generator=torch.Generator().manual_seed(0)).bfloat16()
    keep = int(density * entries)
    threshold, kth = timed(lambda: tau.abs().kthvalue(entries - keep + 1).values)
    ternary, mask = timed(lambda: torch.sign(tau * (tau.abs() >= threshold)) * tau.std())

    def encode():
        places = ternary.nonzero().flatten()
        gaps = torch.diff(places, prepend=torch.tensor([-1])) - 1
        # In pieces: one Python integer of all bits would take quadratic time.
        gaps, negative = gaps.tolist(), (ternary[places] < 0).tolist()
        return [golomb(gaps[i : i + 4096], negative[i : i + 4096], 4) for i in range(0, len(gaps), 4096)]

    _, coded = timed(encode)
    print(json.dumps({"kthvalue_ms": kth, "total_ms": kth + mask + coded}))


main()
