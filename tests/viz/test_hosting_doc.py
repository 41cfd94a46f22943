"""The numbers in docs/hosting.md are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from viz.errors import store
from viz.page import gate
from viz.server import chat_request, job, shelf, turns, uploads

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "hosting.md").read_text(encoding="utf-8")


def in_words(size: int) -> str:
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"


@pytest.mark.parametrize(
    ("limits", "things", "constant"),
    [
        (uploads.LIMITS, "files", "`viz/server/uploads.py`, `LIMITS`"),
        (shelf.LIMITS, "folders", "`viz/server/shelf.py`, `LIMITS`"),
        (store.LIMITS, "", "`viz/errors/store.py`, `LIMITS`"),
    ],
)
def test_what_visitors_may_keep(limits, things, constant):
    (row,) = [line for line in TEXT.splitlines() if constant in line]
    _, _, own, everybody, *_ = (cell.strip() for cell in row.split("|"))
    between = f" {things}, " if things else ", "
    assert own == f"{limits.own_things}{between}{in_words(limits.own_bytes)}"
    assert everybody.startswith(f"{limits.things}{between}{in_words(limits.bytes)}")


@pytest.mark.parametrize(
    "words",
    [
        f"| size of an uploaded file | {in_words(job.BIGGEST)} |",
        f"| uploads under way | {uploads.AT_ONCE}, {in_words(uploads.LIMITS.own_bytes)} | "
        f"{uploads.AT_ONCE_IN_ALL}, {in_words(uploads.LIMITS.bytes)} |",
        f"| disk that uploads leave free | | {in_words(uploads.RESERVE)} |",
        f"| runs under way or waiting | {turns.PLACES} | {turns.PLACES_IN_ALL} |",
        f"| events in Gradio's queue | {gate.EVENTS} |",
        f"| a request that is no upload | {in_words(gate.LARGEST_BODY)} |",
        f"| a request for a chat completion | {in_words(chat_request.LARGEST)}, a video of "
        f"{in_words(chat_request.LARGEST * 3 // 4)} |",
        f"| answer of a chat completion | {chat_request.MOST_TOKENS:,} tokens |",
        f"| question | {job.LONGEST:,} characters |",
        f"| frames of a run | {job.MOST_FRAMES} |",
        f"status {421}",
        f"status {403}",
        "--allow-host",
        "STC_APP_AUTH",
    ],
)
def test_other_numbers(words):
    assert words in TEXT
