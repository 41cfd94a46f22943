"""Slow, obvious references in float64: nested loops, nothing clever, nothing of the package."""

import math

import numpy as np


def cosine(a, b):
    norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm if norm > 0 else 0.0


def half_up(value):
    return math.floor(value + 0.5)


def pool(tokens, contribution, capacity, tau):
    """(accepted indices in order, similarity when considered)."""
    order = sorted(range(len(tokens)), key=lambda i: (-contribution[i], i))
    accepted, similarity = [], [math.nan] * len(tokens)
    for i in order:
        if len(accepted) >= capacity:
            break
        similarity[i] = max((cosine(tokens[i], tokens[p]) for p in accepted), default=-math.inf)
        if not accepted or similarity[i] < tau - 1e-6:
            accepted.append(i)
    return accepted, similarity


def grain_of(size):
    """The power of two about 1e-12 times the size: what is below is rounding, at every scale."""
    return 2.0 ** (math.floor(math.log2(size)) - 40) if size else 1.0


def clusters(tokens, count, k):
    """(centers ascending, nearest center of each token) by DPC-KNN."""
    m = len(tokens)
    if count == m:
        return list(range(m)), list(range(m))
    width = len(tokens[0])
    square = [
        [sum((a - b) ** 2 for a, b in zip(tokens[i], tokens[j], strict=True)) for j in range(m)]
        for i in range(m)
    ]
    grain = grain_of(sum(map(sum, square)) / m**2)
    square = [[round(value / grain) for value in row] for row in square]  # whole: sums are exact
    unit = grain / width
    log_rho = []
    for i in range(m):
        near = sorted(square[i])[: min(k, m)]
        log_rho.append(-sum(near) / len(near) * unit)
    gamma = []
    for i in range(m):
        denser = [
            square[i][j]
            for j in range(m)
            if log_rho[j] > log_rho[i] or (log_rho[j] == log_rho[i] and j < i)
        ]
        delta = math.sqrt((min(denser) if denser else max(square[i])) * unit)
        gamma.append(log_rho[i] + math.log(delta) if delta > 0 else -math.inf)
    centers = sorted(sorted(range(m), key=lambda i: (-gamma[i], i))[:count])
    nearest = []
    for i in range(m):
        best = min(centers, key=lambda c: (square[i][c], c))
        nearest.append(i if i in centers else best)
    return centers, nearest


def dense_pool(tokens, contribution, capacity, tau):
    """``pool`` on an array (N, d), one dense matrix of cosines: for hundreds of tokens."""
    x = np.asarray(tokens, float)
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    accepted = []
    for i in np.argsort(-np.asarray(contribution), kind="stable"):
        if len(accepted) >= capacity:
            break
        if not accepted or cosines[i, accepted].max() < tau - 1e-6:
            accepted.append(int(i))
    return accepted


def dense_clusters(tokens, count, k):
    """``clusters`` on an array (M, d) by whole M x M matrices, differences taken one by one."""
    x = np.asarray(tokens, float)
    m, width = x.shape
    square = np.array([((x - row) ** 2).sum(axis=1) for row in x])
    grain = grain_of(square.mean())
    square = np.round(square / grain).astype(np.int64)  # whole: sums are exact
    unit = grain / width
    near = np.sort(square, axis=1)[:, : min(k, m)]
    log_rho = -near.sum(axis=1) / near.shape[1] * unit
    rank = np.empty(m, int)
    rank[np.argsort(-log_rho, kind="stable")] = np.arange(m)
    delta = np.where(rank[None] < rank[:, None], square * unit, np.inf).min(axis=1)
    delta[rank == 0] = square[rank == 0].max() * unit
    with np.errstate(divide="ignore"):
        gamma = log_rho + 0.5 * np.log(delta)
    centers = np.sort(np.argsort(-gamma, kind="stable")[:count])
    nearest = centers[square[:, centers].argmin(axis=1)]
    nearest[centers] = centers
    return centers.tolist(), nearest.tolist()


def outside(tokens, contribution, budget, tau, cluster_ratio, k):
    """(fate names, target) of the whole outside stage."""
    n = len(tokens)
    capacity = budget - half_up(cluster_ratio * budget)
    accepted, _ = pool(tokens, contribution, capacity, tau)
    fate, target = ["DROPPED"] * n, [-1] * n
    for i in accepted:
        fate[i], target[i] = "KEPT", i
    left = [i for i in range(n) if fate[i] == "DROPPED"]
    if len(accepted) < budget:
        centers, nearest = clusters([tokens[i] for i in left], budget - len(accepted), k)
        for place, i in enumerate(left):
            fate[i] = "CENTER" if place in centers else "MERGED"
            target[i] = left[nearest[place]]
    return fate, target


def means(tokens, target):
    """(B, d): the mean of the tokens that each survivor carries, in original order."""
    rows = []
    for s in range(len(tokens)):
        if target[s] == s:
            members = [tokens[i] for i in range(len(tokens)) if target[i] == s]
            rows.append([sum(column) / len(members) for column in zip(*members, strict=True)])
    return np.array(rows)


def min_max(values):
    low, high = min(values), max(values)
    if high - low <= 1e-6 * max(abs(v) for v in values):
        return [0.0] * len(values)
    return [(v - low) / (high - low) for v in values]


def relevance(visual, text, attention, lam):
    n = len(visual)
    attended = min_max([max(row[i] for row in attention) for i in range(n)])
    alike = min_max([max(cosine(t, visual[i]) for t in text) for i in range(n)])
    return [round((1 - lam) * attended[i] + lam * alike[i], 12) for i in range(n)]


def inside(visual, text, attention, keep, lam):
    """(survivors ascending, target) of the inside stage."""
    score = relevance(visual, text, attention, lam)
    count = max(1, half_up(keep * len(visual)))
    survivors = sorted(sorted(range(len(visual)), key=lambda i: (-score[i], i))[:count])
    target = [
        i
        if i in survivors
        else min(survivors, key=lambda s: (-round(cosine(visual[i], visual[s]), 12), s))
        for i in range(len(visual))
    ]
    return survivors, target


def shares(target, weight):
    """Each token's share in its survivor, weights scaled to a sum of 1."""
    total = [sum(w for t, w in zip(target, weight, strict=True) if t == s) for s in target]
    return [0.0 if t < 0 else w / s for t, w, s in zip(target, weight, total, strict=True)]


def weighted_means(tokens, target, weight):
    """(B, d): the weighted mean of what each survivor carries."""
    share = shares(target, weight)
    rows = []
    for s in range(len(tokens)):
        if target[s] == s:
            row = [0.0] * len(tokens[0])
            for i in range(len(tokens)):
                if target[i] == s:
                    row = [a + share[i] * b for a, b in zip(row, tokens[i], strict=True)]
            rows.append(row)
    return np.array(rows)


def kept_only(n, chosen):
    """(fate names, target) where the chosen stay and the others are dropped."""
    fate = ["KEPT" if i in chosen else "DROPPED" for i in range(n)]
    return fate, [i if i in chosen else -1 for i in range(n)]


def ablated(tokens, contribution, budget, tau, cluster_ratio, k, parts, walk="raster"):
    """(fate names, target) of STC's outside stage with only these ``parts`` ("A", "S", "C") on."""
    n = len(tokens)
    if "A" not in parts:
        bits = len(format(max(n - 1, 1), "b"))
        mirrored = [int(format(i, f"0{bits}b")[::-1], 2) for i in range(n)]
        contribution = [-i for i in range(n)] if walk == "raster" else [-m for m in mirrored]
    if parts == "C":
        cluster_ratio = 1.0
    if "S" not in parts:
        tau = math.inf
    if "C" in parts:
        return outside(tokens, contribution, budget, tau, cluster_ratio, k)
    accepted, similarity = pool(tokens, contribution, budget, tau)
    order = sorted(range(n), key=lambda i: (-contribution[i], i))
    rejected = [i for i in order if i not in accepted]
    if len(accepted) < budget:
        rejected.sort(key=lambda i: round(similarity[i], 12))  # stable: earlier visits first
    return kept_only(n, accepted + rejected[: budget - len(accepted)])


def pooled(frames, rows, cols, shape):
    """Target of each token under average pooling to ``shape`` blocks."""
    target = []
    for token in range(frames * rows * cols):
        place = token // (rows * cols), token // cols % rows, token % cols
        middle = []
        for here, size, parts in zip(place, (frames, rows, cols), shape, strict=True):
            part = [p for p in range(parts) if p * size // parts <= here < (p + 1) * size // parts]
            block = list(range(part[0] * size // parts, (part[0] + 1) * size // parts))
            middle.append(block[(len(block) - 1) // 2])
        target.append((middle[0] * rows + middle[1]) * cols + middle[2])
    return target


def evs(tokens, per_frame, budget):
    """Survivors of EVS."""
    change = [
        math.inf if i < per_frame else round(1 - cosine(tokens[i], tokens[i - per_frame]), 12)
        for i in range(len(tokens))
    ]
    return sorted(sorted(range(len(tokens)), key=lambda i: (-change[i], i))[:budget])


def vidcom2(tokens, frames, budget, temperature):
    """Survivors of VidCom2 with an exact count."""
    n, width = len(tokens), len(tokens[0])
    per_frame = n // frames

    def mean(rows):
        return [sum(column) / len(rows) for column in zip(*rows, strict=True)]

    variance = []
    for column in zip(*tokens, strict=True):
        middle = sum(column) / n
        variance.append(float(f"{sum((v - middle) ** 2 for v in column) / n:.11e}"))
    calm = sorted(sorted(range(width), key=lambda c: (variance[c], c))[: max(1, width // 2)])
    unit = []
    for row in tokens:
        part = [row[c] for c in calm]
        norm = max(math.sqrt(sum(v * v for v in part)), 1e-12)
        unit.append([v / norm for v in part])

    def likeness(row, center):
        square = sum((a - b) ** 2 for a, b in zip(row, center, strict=True))
        return sum(math.exp(-square / (2 * a)) for a in (1 / 8, 1 / 4, 1 / 2, 1, 2))

    of_frame = [range(f * per_frame, (f + 1) * per_frame) for f in range(frames)]
    video = mean(unit)
    to_video = [likeness(row, video) for row in unit]
    unique = [-sum(to_video[i] for i in part) / per_frame / temperature for part in of_frame]
    odds = [math.exp(u - max(unique)) for u in unique]
    share = [1 + round(o / sum(odds), 9) - 1 / frames for o in odds]
    wanted = [round(s / sum(share) * budget, 9) for s in share]
    given, served = [min(int(w), per_frame) for w in wanted], set()
    while sum(given) < budget:
        free = [f for f in range(frames) if given[f] < per_frame]
        largest = max(round(wanted[f] % 1, 9) for f in free if f not in served)
        tied = [f for f in free if f not in served and round(wanted[f] % 1, 9) == largest]
        wins = min(budget - sum(given), len(tied))
        for win in range(wins):  # evenly spread over time
            given[tied[int((win + 0.5) * len(tied) / wins + 1e-9)]] += 1
        served.update(tied)
        if all(given[f] == per_frame or f in served for f in range(frames)):
            served.clear()
    survivors = []
    for part, count in zip(of_frame, given, strict=True):
        center = mean([unit[i] for i in part])
        score = {i: round(to_video[i] + likeness(unit[i], center), 12) for i in part}
        survivors += sorted(part, key=lambda i: (score[i], i))[:count]
    return sorted(survivors)
