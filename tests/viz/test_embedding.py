"""Places of the tokens: the numbers, the fit in a process of its own, what a browser may ask."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import build

from stc_core import InputError, Trace
from stc_core.record.grid import TokenGrid
from viz.page.projections import Fits, follow
from viz.pictures import embedding as places
from viz.pictures.embedding import embedding, held, to_scale
from viz.server.runner import Failure
from viz.server.shelf import Shelf
from viz.workspace.bundle import pack, unpack


def groups(count: int = 60, seed: int = 3) -> np.ndarray:
    """(count, 6) float16: three groups far from each other, in turns."""
    rng = np.random.default_rng(seed)
    middles = 20 * np.eye(3, 6)
    x = middles[np.arange(count) % 3] + rng.normal(size=(count, 6))
    return (x - x.mean(axis=0)).astype(np.float16)


def recorded(features: np.ndarray | None, **fields) -> Trace:
    return build(TokenGrid(5, 3, 4, 30, 40), kept=(0, 7), features=features, **fields)


def test_pca_is_the_first_two_components_in_their_own_units():
    features = groups()
    found = embedding(recorded(features), how="pca")
    assert found.dtype == np.float32 and np.array_equal(found, features[:, :2].astype(np.float32))
    flat = embedding(recorded(features[:, :1]), how="pca")
    assert np.array_equal(flat[:, 0], features[:, 0]) and not flat[:, 1].any()


def test_shares_of_the_variance_are_those_of_what_the_trace_holds():
    x = np.zeros((4, 3), np.float16)
    x[:, 0], x[:, 1], x[:, 2] = (3, -3, 3, -3), (1, 1, -1, -1), (2, -2, -2, 2)
    assert held(x) == pytest.approx([9 / 14, 1 / 14])
    assert held(x[:, :1]) == [1.0, 0.0]
    assert held(np.zeros((4, 2), np.float16)) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("trace", "how", "words"),
    [
        (recorded(None), "pca", "record=True"),
        (recorded(groups()), "tsne", "not by 'tsne'"),
        (build(TokenGrid(1, 3, 5, 30, 40), features=groups(15)), "umap", "16 to 100000 tokens"),
    ],
)
def test_what_has_no_embedding_says_so(trace, how, words):
    with pytest.raises(InputError, match=words):
        embedding(trace, how=how)


def test_a_picture_is_kept_to_scale():
    found = to_scale(np.array([[-1.0, 5.0], [3.0, 6.0], [1.0, 7.0]]))
    assert found.tolist() == [[0, 0], [65535, 16384], [32768, 32768]]
    assert not to_scale(np.full((3, 2), 4.0)).any()


def test_the_browser_is_given_the_pca_with_the_trace():
    trace = recorded(groups(), costs={"tokens_per_layer": [2, 2, 1]})
    header, arrays = unpack(pack(trace))
    assert np.array_equal(arrays["pca"], to_scale(embedding(trace, how="pca")))
    assert header["pca_held"] == held(trace.features) and header["layers"] == [2, 2, 1]
    header, arrays = unpack(pack(recorded(None)))
    assert "pca" not in arrays and header["pca_held"] is None and header["layers"] == []


@pytest.mark.parametrize("counts", [
    "12", [1, -1], [61], [1.5], [True], [None], [1] * 257, {"0": 1}, [[1]],
])  # fmt: skip
def test_layers_of_a_strange_file_are_left_out(counts):
    trace = recorded(groups(), costs={"tokens_per_layer": counts})
    assert unpack(pack(trace))[0]["layers"] == []


# --- UMAP ----------------------------------------------------------------------------------------


def test_umap_keeps_neighbors_and_is_the_same_each_time():
    trace = recorded(groups())
    first = embedding(trace, how="umap")
    assert first.shape == (60, 2) and first.dtype == np.float32
    assert np.array_equal(first, embedding(trace, how="umap"))
    # another method on the same tokens: the same places
    other = replace(trace, method="random", question="where is it?")
    assert np.array_equal(first, embedding(other, how="umap"))
    far = np.linalg.norm(first[:, None] - first[None], axis=2) + 1e6 * np.eye(60)
    assert (far.argmin(axis=1) % 3 == np.arange(60) % 3).all()


def test_above_the_limit_the_rest_is_placed_among_a_sample(monkeypatch):
    monkeypatch.setattr(places, "MOST_FITTED", 60)
    monkeypatch.setattr(places, "CHUNK", 20)
    features = groups(90)
    found = places.umap(features)
    assert np.array_equal(found, places.umap(features))
    far = np.linalg.norm(found[:, None] - found[None], axis=2) + 1e6 * np.eye(90)
    assert (far.argmin(axis=1) % 3 == np.arange(90) % 3).all()


def test_a_visitor_hears_of_the_fit_until_it_is_there_and_all_share_it(tmp_path):
    shelf, features = Shelf(tmp_path), groups()
    fits = Fits(shelf.folder)
    key = shelf.put(recorded(features)).parent.name
    news = follow(shelf, fits, key)
    first = next(news)
    assert set(first) == {"seconds"}
    assert fits.ask(features) is fits.ask(features.copy())  # a second visitor waits for the same
    *waits, last = news
    assert [w["seconds"] for w in waits] == sorted(w["seconds"] for w in waits)
    path = Path(last["url"].removeprefix("gradio_api/file="))
    found = np.frombuffer(path.read_bytes(), "<u2").reshape(60, 2)
    assert np.array_equal(found, to_scale(places.umap(features)))
    assert path.is_relative_to(tmp_path) and not list(tmp_path.rglob("*.part*"))
    assert last["settings"] == {
        "neighbors": 15,
        "distance": 0.1,
        "metric": "euclidean",
        "fitted": 60,
    }
    # the same clip under another method, on a page started later: no fit, no wait
    other = shelf.put(recorded(features, method="random")).parent.name
    assert other != key and list(follow(shelf, Fits(shelf.folder), other)) == [last]


def test_a_fit_that_takes_too_long_is_given_up_and_may_be_tried_again(tmp_path):
    fits = Fits(tmp_path, patience=0.05)
    first = fits.ask(groups())
    with pytest.raises(Failure, match="given up after"):
        first.result(timeout=60)
    wait_until(lambda: fits.ask(groups()) is not first)
    assert not list(tmp_path.rglob("umap.bin"))


def wait_until(true) -> None:
    patience = time.monotonic() + 60
    while not true():
        assert time.monotonic() < patience
        time.sleep(0.05)


def test_only_so_many_clips_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("viz.page.projections.MOST_WAITING", 1)
    fits = Fits(tmp_path, patience=0.5)
    first = fits.ask(groups(seed=1))
    with pytest.raises(InputError, match="too many clips wait"):
        fits.ask(groups(seed=2))
    with pytest.raises(Failure):
        first.result(timeout=60)


@pytest.mark.parametrize("key", [None, 7, "", "../../etc/passwd", "0" * 20, ["a"], {"key": "a"}])
def test_a_strange_key_is_one_sentence(tmp_path, key):
    shelf = Shelf(tmp_path)
    with pytest.raises(InputError, match="no longer on the server"):
        next(follow(shelf, Fits(shelf.folder), key))


def test_a_trace_without_features_is_one_sentence(tmp_path, caplog):
    shelf = Shelf(tmp_path)
    key = shelf.put(recorded(None)).parent.name
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match="without the features"):
        next(follow(shelf, Fits(shelf.folder), key))
    assert not caplog.records
