"""Shared fixtures: tiny models of every family, and the real page in a browser."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing in this suite may ask a model hub

import pytest
import torch
from browser import chromium  # noqa: F401
from helpers.page import open_tab, served, tab  # noqa: F401
from inputs import SIZES
from tiny.weights import sharpened

from stc_core.shapes.model.sizes import build


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz",
        type=int,
        default=0,
        metavar="N",
        help="damaged trace files to try, at random and each drawn in full; default: a fixed few",
    )

    parser.addoption("--device", default="cpu", help="of tests/test_conformance.py: cpu, cuda, ...")
    parser.addoption(
        "--dtype",
        default="bfloat16",
        choices=("bfloat16", "float16", "float32"),
        help="of tests/test_conformance.py",
    )


@pytest.fixture(scope="session", autouse=True)
def _two_threads():
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _usual_scheduling():
    """No test raises the process above all others: what the later ones start would inherit it."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.fixture(scope="session")
def tiny_models():
    """Size name -> (model, processor), random weights, evaluation mode; not to be changed."""
    made = {}
    for name, size in SIZES.items():
        model, processor = build(size, seed=1)
        made[name] = sharpened(model.eval()), processor
    return made


@pytest.fixture
def tiny(tiny_models):
    """(model, processor) of 4 x 4 tokens a frame, with sdpa."""
    model, processor = tiny_models["even"]
    model.set_attn_implementation("sdpa")
    return model, processor
