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


def clusters(tokens, count, k):
    """(centers ascending, nearest center of each token) by DPC-KNN."""
    m = len(tokens)
    if count == m:
        return list(range(m)), list(range(m))
    width = len(tokens[0])
    square = [
        [
            sum((a - b) ** 2 for a, b in zip(tokens[i], tokens[j], strict=True)) / width
            for j in range(m)
        ]
        for i in range(m)
    ]
    log_rho = []
    for i in range(m):
        near = sorted(square[i])[: min(k, m)]
        log_rho.append(round(-sum(near) / len(near), 9))
    gamma = []
    for i in range(m):
        denser = [
            square[i][j]
            for j in range(m)
            if log_rho[j] > log_rho[i] or (log_rho[j] == log_rho[i] and j < i)
        ]
        delta = math.sqrt(min(denser) if denser else max(square[i]))
        gamma.append(round(log_rho[i] + math.log(delta), 9) if delta > 0 else -math.inf)
    centers = sorted(sorted(range(m), key=lambda i: (-gamma[i], i))[:count])
    nearest = []
    for i in range(m):
        best = min(centers, key=lambda c: (round(square[i][c], 9), c))
        nearest.append(i if i in centers else best)
    return centers, nearest


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
    return [round((1 - lam) * attended[i] + lam * alike[i], 9) for i in range(n)]


def inside(visual, text, attention, keep, lam):
    """(survivors ascending, target) of the inside stage."""
    score = relevance(visual, text, attention, lam)
    count = max(1, half_up(keep * len(visual)))
    survivors = sorted(sorted(range(len(visual)), key=lambda i: (-score[i], i))[:count])
    target = [
        i
        if i in survivors
        else min(survivors, key=lambda s: (-round(cosine(visual[i], visual[s]), 9), s))
        for i in range(len(visual))
    ]
    return survivors, target
