"""Define the words of the lesson, each in one line: the page shows them where a word is pointed at.

This is the one place of these definitions; ``docs/glossary.md`` repeats them, and a test compares.
"""

from __future__ import annotations

TERMS = {
    "token": "what the language model gets of one cell of one frame: a list of numbers",
    "cell": "one row and column of one frame of the grid",
    "budget": "the number of video tokens that a method may keep: the retention ratio times N, "
    "rounded",
    "contribution": "attention that a token receives in the vision tower",
    "vision tower": "the network that turns the frames into features, before the language model",
    "cosine": "how alike two tokens are: 1 for the same direction, 0 for nothing in common",
    "pool": "the tokens that STC takes as themselves: high contribution, unlike each other",
    "tau": "the cosine from which on a token is too alike to one of the pool, and is not taken",
    "recycled": "the tokens outside the pool, before they are clustered",
    "cluster": "recycled tokens that are alike, of which one token carries the mean",
    "center": "a recycled token whose place carries the mean of its cluster",
    "layer K": "the decoder layer after which the inner stage acts, counted from 0",
    "relevance": "how much a token matters to the question: attention from the question and cosine "
    "similarity to it, at layer K",
    "lambda": "the weight of similarity against attention in the relevance, 0 to 1",
    "evidence": "the cells without which a question of the world of shapes cannot be answered",
    "sink": "a token that receives much attention and holds no content",
    "LLM": "the language model, which reads the video tokens and the question and answers",
}
# Other forms of these words in a text.
FORMS = {
    "tokens": "token",
    "cells": "cell",
    "clusters": "cluster",
    "centers": "center",
    "sinks": "sink",
    "language model": "LLM",
    "layer": "layer K",
    "K": "layer K",
}


def spoken() -> dict[str, str]:
    """Return {word or form of it: what it means}."""
    return TERMS | {form: TERMS[word] for form, word in FORMS.items()}
