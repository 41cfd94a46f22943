"""Principal components and pieces of text, against plain ones."""

import numpy as np
import pytest
import torch

from stc_core.hooks.recording import COMPONENTS, EXACT_WIDTH, leading_components, pieces
from stc_core.models.loading import EMBEDDED


def falling(n, d, seed=0):
    """(N, d) tokens off the origin whose directions differ clearly in how much they vary."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(n, min(n, d))))
    right, _ = np.linalg.qr(rng.normal(size=(d, min(n, d))))
    sizes = 8.0 * 0.7 ** np.arange(min(n, d))
    return torch.from_numpy((left * sizes) @ right.T + rng.normal(size=d))


def reference(tokens, count):
    """The same by a full singular-value decomposition, signs by the rule."""
    x = tokens.numpy() - tokens.numpy().mean(0)
    axes = np.linalg.svd(x, full_matrices=False)[2][:count]
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1))
    return x @ (axes * signs).T


@pytest.mark.parametrize("shape", [(40, 20), (12, 30), (200, 64), (60, EXACT_WIDTH + 8)])
def test_components_are_those_of_a_full_decomposition(shape):
    tokens = falling(*shape)
    found = leading_components(tokens)
    count = min(COMPONENTS, *shape)
    assert found.shape == (shape[0], count) and found.dtype == np.float16
    # the centring costs one dimension: with N <= c the last component is rounding
    known = min(count, shape[0] - 1)
    np.testing.assert_allclose(found[:, :known], reference(tokens, count)[:, :known], atol=4e-3)
    assert np.abs(found.astype(float).mean(0)).max() < 1e-3
    spread = found.astype(float).var(0)
    assert (np.diff(spread) < 1e-6).all()


@pytest.mark.parametrize("width", [24, EXACT_WIDTH + 8])
def test_components_are_the_same_every_time_and_leave_the_generator_alone(width):
    tokens = falling(50, width).float()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = leading_components(tokens)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    np.testing.assert_array_equal(first, leading_components(tokens.clone()))


@pytest.mark.parametrize(
    "tokens",
    [torch.ones(1, 5), torch.zeros(6, 3), torch.ones(30, 8).bfloat16(), 6e4 * torch.eye(20) ** 2],
    ids=["one token", "all zero", "all equal", "huge"],
)
def test_components_of_degenerate_tokens_are_finite(tokens):
    found = leading_components(tokens * (1 + (len(tokens) == 20) * 1e6))
    assert found.shape == (len(tokens), min(COMPONENTS, *tokens.shape))
    assert np.isfinite(found).all()


class Bytes:
    """A tokenizer of one token a byte, so that a letter may take several."""

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


@pytest.mark.parametrize("text", ["", "a", "a star", "ein grüner Stern", "星 ⭐", "⭐"])
def test_pieces_join_to_the_text_and_a_letter_is_never_cut(text):
    ids = list(text.encode())
    found = pieces(Bytes(), ids)
    assert len(found) == len(ids) and "".join(found) == text
    assert "\ufffd" not in "".join(found)


def test_a_letter_that_never_ends_shows_as_unreadable():
    assert pieces(Bytes(), list("a⭐".encode())[:-1]) == ["a", "", "\ufffd"]


def test_pieces_of_a_word_level_tokenizer_carry_their_space():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    ids = tokenizer("what color is the star?", add_special_tokens=False)["input_ids"]
    assert pieces(tokenizer, ids) == ["what", " color", " is", " the", " star", " ?"]
