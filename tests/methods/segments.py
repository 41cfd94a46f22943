"""Segments of a clip, cut where frames differ, by loops."""

from references import cosine


def cuts(features, least, tau):
    alike = [round(cosine(a, b), 12) for a, b in zip(features[:-1], features[1:], strict=True)]
    lowest = sorted(range(len(alike)), key=lambda i: (alike[i], i))[: least - 1]
    edges = [0]
    for i, value in enumerate(alike):
        if i in lowest or value < tau:
            edges.append(i + 1)
    return list(zip(edges, edges[1:] + [len(features)], strict=True))
