"""What spec/ALGORITHM.md says, a second time, in plain Python, and the vectors made with it.

It shares no code with the TypeScript, but it has the same author and was not written from the page alone: it shows that
the arithmetic does not depend on language or library, not that the page leaves no doubt.

    python scripts/golden/algorithm.py > spec/vectors/algorithm.json

Needs Python 3.11 and nothing else. Python's float is IEEE binary64 and math.sqrt is correctly rounded, which is all the
page asks for. Tensors are small, so the plainest loop is the right one.
"""
import json
import math
import struct
import sys


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def from_bits(b):
    return struct.unpack("<f", struct.pack("<I", b))[0]


def bf16(x):
    b = bits(f32(x))
    return from_bits((b + 0x7FFF + (b >> 16 & 1)) & 0xFFFF0000)


def values(seed, count, spread=1.0):
    """Deterministic f32 test values, no library generator: a 64-bit LCG, sum of four uniforms about zero."""
    state = seed
    out = []
    for _ in range(count):
        total = 0.0
        for _ in range(4):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            total += (state >> 40) / 2**24 - 0.5
        out.append(f32(total * spread))
    return out


# ---- Moments


def moments(tau):
    total, squares = [0.0] * 4, [0.0] * 4
    for i, x in enumerate(tau):
        total[i % 4] += x
        squares[i % 4] += x * x
    join = lambda lanes: (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    return len(tau), join(total), join(squares)


def combine(parts):
    n, total, squares = 0, 0.0, 0.0
    for part in parts:
        n, total, squares = n + part[0], total + part[1], squares + part[2]
    return n, total, squares


def sigma(m):
    n, total, squares = m
    return 0.0 if n < 2 else math.sqrt(max(0.0, squares - total * total / n) / (n - 1))


# ---- Trits


def keep_count(entries, density):
    return min(entries, max(0, math.ceil(density * entries - 1e-9)))


def trits(tensors, density):
    """Trits of tensors in name order under one threshold, and the threshold."""
    flat = [(bits(x) & 0x7FFFFFFF) for tau in tensors for x in tau]
    order = sorted(range(len(flat)), key=lambda i: (-flat[i], i))
    keep = keep_count(len(flat), density)
    kept = {i for i in order[:keep] if flat[i] > 0}
    threshold = from_bits(flat[order[keep - 1]]) if keep else None
    out, i = [], 0
    for tau in tensors:
        row = []
        for x in tau:
            row.append((-1 if x < 0 else 1) if i in kept else 0)
            i += 1
        out.append(row)
    return out, threshold


# ---- Scales


def kept_sum(tau, t):
    total = 0.0
    for x, s in zip(tau, t):
        if s:
            total += abs(x)
    return total


def tensor_scale(rule, tau, t, alpha, factor, gain):
    kept = sum(map(abs, t))
    m = moments(tau)
    if rule == "std":
        value = alpha * sigma(m)
    elif rule == "norm":
        value = factor * math.sqrt(m[2] / kept) if kept else 0.0
    else:
        value = kept_sum(tau, t) / kept if kept else 0.0
    return f32(gain * value)


def global_scale(rule, tensors, ts, wanted, alpha, factor, gain):
    m = combine([moments(tau) for tau in tensors])
    kept = sum(abs(s) for t in ts for s in t)
    if rule == "std":
        value = alpha * sigma(m)
    elif rule == "norm":
        value = factor * math.sqrt(m[2] / kept) if kept else 0.0
    else:
        value = global_mean(tensors, ts, kept, wanted)
    return f32(gain * value)


def global_mean(tensors, ts, kept, wanted):
    if not kept:
        return 0.0
    magnitudes = [bits(x) & 0x7FFFFFFF for tau, t in zip(tensors, ts) for x, s in zip(tau, t) if s]
    first = min(magnitudes) >> 16 if kept == wanted else 0
    total = 0.0
    for tau in tensors:
        above = 0.0
        for x in tau:
            if (bits(x) & 0x7FFFFFFF) >> 16 > first:
                above += abs(x)
        total += above
    inside = {}
    for m in magnitudes:
        if m >> 16 == first:
            inside[m] = inside.get(m, 0) + 1
    for m in sorted(inside, reverse=True):
        total += inside[m] * from_bits(m)
    return total / kept


# ---- Linear algebra: matrices are lists of columns


def dot(x, y, start=0):
    total = 0.0
    for i in range(start, len(x)):
        total += x[i] * y[i]
    return total


def reflect(x, v, factor, k):
    if factor == 0:
        return
    weight = factor * dot(x, v, k)
    for i in range(k, len(x)):
        x[i] = x[i] - weight * v[i]


def qr(m):
    work = [list(c) for c in m]
    rows, rank = len(m[0]), min(len(m[0]), len(m))
    q = []
    for k in range(rank):
        v = [0.0] * k + work[k][k:]
        norm = math.sqrt(dot(v, v, k))
        factor = 0.0
        if norm != 0:
            v[k] = v[k] - norm if v[k] < 0 else v[k] + norm
            square = dot(v, v, k)
            factor = 0.0 if square == 0 else 2 / square
        q.append((v, factor))
        for j in range(k, len(m)):
            reflect(work[j], v, factor, k)
    r = [[work[j][i] if i <= j else 0.0 for i in range(rank)] for j in range(len(m))]
    return (rows, q), r


def apply_q(q, m):
    rows, reflections = q
    out = []
    for c in m:
        x = list(c) + [0.0] * (rows - len(c))
        for k in range(len(reflections) - 1, -1, -1):
            reflect(x, *reflections[k], k)
        out.append(x)
    return out


def rotate(x, y, c, s):
    for i in range(len(x)):
        a, b = x[i], y[i]
        x[i] = c * a - s * b
        y[i] = s * a + c * b


def jacobi(m):
    w = [list(c) for c in m]
    n = len(w)
    v = [[1.0 if i == j else 0.0 for i in range(n)] for j in range(n)]
    for _ in range(40):
        rotated = False
        for p in range(n - 1):
            for q in range(p + 1, n):
                alpha, beta, gamma = dot(w[p], w[p]), dot(w[q], w[q]), dot(w[p], w[q])
                if gamma == 0 or abs(gamma) <= 2**-48 * (math.sqrt(alpha) * math.sqrt(beta)):
                    continue
                zeta = (beta - alpha) / (2 * gamma)
                root = math.sqrt(1 + zeta * zeta)
                t = -1 / (root - zeta) if zeta < 0 else 1 / (root + zeta)
                c = 1 / math.sqrt(1 + t * t)
                s = c * t
                rotate(w[p], w[q], c, s)
                rotate(v[p], v[q], c, s)
                rotated = True
        if not rotated:
            break
    lengths = [math.sqrt(dot(c, c)) for c in w]
    order = sorted(range(n), key=lambda j: (-lengths[j], j))
    return [w[j] for j in order], [lengths[j] for j in order], [v[j] for j in order]


def halves(m):
    if len(m[0]) < len(m):
        left, right = halves([[c[i] for c in m] for i in range(len(m[0]))])
        return right, left
    w, s, v = jacobi(m)
    left, right = [], []
    for j, length in enumerate(s):
        root = math.sqrt(length)
        left.append([0.0 if root == 0 else x / root for x in w[j]])
        right.append([root * x for x in v[j]])
    return left, right


def svd_gauge(a, b):
    """Columns of A' and B in, columns of the new ones out, f32."""
    rank = len(a)
    qa, ra = qr(a)
    qb, rb = qr(b)
    m = []
    for j in range(len(ra[0])):
        column = [0.0] * len(rb[0])
        for k in range(rank):
            for i in range(len(column)):
                column[i] = column[i] + ra[k][j] * rb[k][i]
        m.append(column)
    left, right = halves(m)
    pad = lambda x: x + [[0.0] * len(x[0])] * (rank - len(x))
    a, b = apply_q(qa, pad(right)), apply_q(qb, pad(left))
    for i in range(rank):
        largest = 0.0
        for x in a[i]:
            if abs(x) > abs(largest):
                largest = x
        if largest < 0:
            a[i] = [-x for x in a[i]]
            b[i] = [-x for x in b[i]]
    return [[f32(x) for x in c] for c in a], [[f32(x) for x in c] for c in b]


def balance(a, b):
    out_a, out_b = [], []
    for x, y in zip(a, b):
        la, lb = math.sqrt(dot(x, x)), math.sqrt(dot(y, y))
        f = math.sqrt(lb / la) if la and lb else None
        out_a.append([f32(v if f is None else v * f) for v in x])
        out_b.append([f32(v if f is None else v / f) for v in y])
    return out_a, out_b


# ---- Component scales


def inner(x, y, u=None, v=None):
    """x, y: (columns of A', columns of B)."""
    total = 0.0
    for i in range(len(x[0])):
        for j in range(len(y[0])):
            weight = (u[i] if u else 1) * (v[j] if v else 1)
            total += weight * (dot(x[0][i], y[0][j]) * dot(x[1][i], y[1][j]))
    return total


def scale_factors(product):
    root = bf16(math.sqrt(product))
    if root == 0:
        return 0.0, 0.0

    def error(pair):
        a, b = pair
        return abs(a * b - product) if a > 0 and b > 0 and math.isfinite(a) and math.isfinite(b) else math.inf

    best = (root, bf16(product / root))
    for step in range(1, 33):
        for signed in (step, -step):
            shifted = (bits(root) + signed * 65536) % 2**32
            a = from_bits(shifted)
            pair = (a, bf16(product / a) if a != 0 else math.inf)
            if error(pair) < error(best):
                best = pair
    return best


def component_scales(original, a, b, ta, tb, gain):
    means = []
    for x, t in zip(a + b, ta + tb):
        kept = sum(map(abs, t))
        means.append(kept_sum(x, t) / kept if kept else 0.0)
    rank = len(a)
    weights = [means[i] * means[rank + i] for i in range(rank)]
    signs = (ta, tb)
    squares = inner(original, original)
    sign_squares = inner(signs, signs, weights, weights)
    c = math.sqrt(squares / sign_squares) if sign_squares > 0 else 0.0
    return [scale_factors(gain * gain * (w * c)) for w in weights]


# ---- Vectors


def hexes(xs):
    return "".join(struct.pack("<f", x).hex() for x in xs)


def single_case(name, tensors, scope, rule, density, alpha=1.0, gain=1.0):
    """`tensors`: name -> tau, an (IA)3 or full vector. factor 1."""
    names = sorted(tensors)
    taus = [tensors[n] for n in names]
    if scope == "global":
        ts, threshold = trits(taus, density)
        wanted = keep_count(sum(map(len, taus)), density)
        scale = global_scale(rule, taus, ts, wanted, alpha, 1.0, gain)
        scales = [scale] * len(names)
    else:
        ts = [trits([tau], density)[0][0] for tau in taus]
        threshold = None
        scales = [tensor_scale(rule, tau, t, alpha, 1.0, gain) for tau, t in zip(taus, ts)]
    return {
        "name": name,
        "scope": scope,
        "scale": rule,
        "density": density,
        "alpha": alpha if rule == "std" else None,
        "gain": gain,
        "threshold": threshold,
        "tensors": [
            {"name": n, "tau": hexes(tau), "trits": t, "scale": hexes([s])} for n, tau, t, s in zip(names, taus, ts, scales)
        ],
    }


def pair_case(name, out, rank, inp, transform, density, a, b, gain=1.0):
    """a: rank x inp row-major, b: out x rank row-major, both f32."""
    cols_a = [a[i * inp : (i + 1) * inp] for i in range(rank)]
    cols_b = [[b[r * rank + i] for r in range(out)] for i in range(rank)]
    change = {"none": lambda x, y: (x, y), "balance": balance, "svd": svd_gauge}[transform]
    new_a, new_b = change(cols_a, cols_b)
    flat_a = [x for c in new_a for x in c]
    flat_b = [new_b[i][r] for r in range(out) for i in range(rank)]
    ta = trits([flat_a], density)[0][0]
    tb = trits([flat_b], density)[0][0]
    cols_ta = [ta[i * inp : (i + 1) * inp] for i in range(rank)]
    cols_tb = [[tb[r * rank + i] for r in range(out)] for i in range(rank)]
    pairs = component_scales((cols_a, cols_b), new_a, new_b, cols_ta, cols_tb, gain)
    return {
        "name": name,
        "rank": rank,
        "in": inp,
        "out": out,
        "transform": transform,
        "density": density,
        "gain": gain,
        "a": hexes(a),
        "b": hexes(b),
        "transformed_a": hexes(flat_a),
        "transformed_b": hexes(flat_b),
        "trits_a": ta,
        "trits_b": tb,
        "scales_a": hexes([p[0] for p in pairs]),
        "scales_b": hexes([p[1] for p in pairs]),
    }


def main():
    example = {"t": [f32(x) for x in (0.5, -2, 0.1, 3, -0.2, 1, -1, 0.05, 0, 0.7)]}
    mixed = {
        "b.w": values(1, 37),
        "a.w": [0.25, -0.25, 0.5, 0.0, -0.0, 0.25] * 3,
        "\U0001f600.w": values(2, 5, 0.01),
        "\uff5e.w": [0.25, 0.25],
    }
    sparse = {"x": [0.0, 1.5, 0.0, -0.25, 0.0], "y": [0.0, 0.0, 1e-40]}
    singles = [
        single_case("worked example", example, "global", "std", 0.3),
        single_case("alpha and gain", example, "tensor", "std", 0.5, alpha=2.5, gain=1.1),
    ]
    for scope in ("global", "tensor"):
        for rule in ("std", "norm", "mean"):
            singles.append(single_case(f"ties over tensors, {scope}, {rule}", mixed, scope, rule, 0.2))
            singles.append(single_case(f"fewer non-zeros than asked, {scope}, {rule}", sparse, scope, rule, 0.8))
    pairs = []
    for transform in ("none", "balance", "svd"):
        pairs.append(pair_case(transform, 9, 3, 12, transform, 0.3, values(3, 36, 0.03), values(4, 27, 0.004)))
    pairs.append(pair_case("wide B", 2, 4, 11, "svd", 0.4, values(5, 44), values(6, 8)))
    pairs.append(pair_case("wide A", 11, 4, 3, "svd", 0.4, values(7, 12), values(8, 44)))
    pairs.append(pair_case("rank one", 6, 1, 7, "svd", 0.5, values(9, 7), values(10, 6)))
    pairs.append(pair_case("untrained, B is zero", 5, 2, 6, "svd", 0.5, values(11, 12), [0.0] * 10))
    dependent = values(12, 8)
    pairs.append(pair_case("two equal components", 7, 2, 8, "svd", 0.5, dependent + dependent, values(13, 14)))
    pairs.append(pair_case("gain", 9, 3, 12, "svd", 0.3, values(3, 36, 0.03), values(4, 27, 0.004), gain=1.25))
    return {
        "made_by": "scripts/golden/algorithm.py",
        "about": "Inputs and results of spec/ALGORITHM.md. f32 values as little-endian hex; trits row-major.",
        "tensors": singles,
        "lora_modules": pairs,
    }


if __name__ == "__main__":
    json.dump(main(), sys.stdout, indent=1, ensure_ascii=True)
    sys.stdout.write("\n")
