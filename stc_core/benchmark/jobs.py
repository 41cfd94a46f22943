"""List what is to be answered, and what all answers of one file must have in common."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from stc_core import __version__
from stc_core.benchmark.answers_file import Record
from stc_core.benchmark.ask import ask
from stc_core.benchmark.cases import Case, Shapes, Skipped
from stc_core.benchmark.rows import Row
from stc_core.benchmark.video_folder import Folder
from stc_core.errors import InputError
from stc_core.hooks.probes import kernel_name
from stc_core.methods import Method
from stc_core.models.vlm import VLM
from stc_core.shapes.model.opened import weights_fingerprint

AHEAD = 2  # cases rendered in advance for each worker

Job = tuple[Case, list[Method | None]]


def configuration_of(vlm: VLM, source: Shapes | Folder, machine: dict[str, Any]) -> dict[str, Any]:
    """Return all that must be the same for answers to be comparable.

    Parameters
    ----------
    vlm : VLM
    source : Shapes or Folder
    machine : dict
        See ``machine_of``.
    """
    return {
        "benchmark": __version__,
        "model": vlm.name,
        **{name: value for name, value in machine.items() if name != "versions"},
        "cells": cells_of(vlm),
        "answer_tokens": source.answer_tokens,
        **source.about(),
        "versions": machine["versions"],
    }


def machine_of(vlm: VLM) -> dict[str, Any]:
    """Return the part of the configuration that depends on the answering process."""
    return {
        "checkpoint": weights_fingerprint(vlm.model),
        "device": vlm.device.split(":")[0],
        "dtype": str(vlm.model.dtype).removeprefix("torch."),
        "attention": kernel_name(vlm.model),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "numpy")},
        },
    }


def cells_of(vlm: VLM) -> list[int] | None:
    """Return [rows, columns] of every frame; None where the processor chooses them per video."""
    shape = vlm.family.cell_shape
    return None if shape is None else list(shape(vlm.model.config))


def jobs_left(source: Shapes | Folder, rows: list[Row], record: Record) -> Iterator[Job | Skipped]:
    """Yield each case with the methods under which it is still to be asked."""
    for frames in dict.fromkeys(row.frames for row in rows):
        here = [row for row in rows if row.frames == frames]
        most = max(row.questions for row in here)
        for number, case in enumerate(source.cases(most, frames)):
            if isinstance(case, Skipped):
                yield case
                continue
            left = [
                row.method
                for row in here
                if number < row.questions and (case.id, *row.key) not in record.known
            ]
            if left:
                yield case, left


def answers_to(vlm: VLM, job: Job, answer_tokens: int) -> Iterator[dict | Skipped]:
    """Yield the answers to one job in turn, in the form of ``ask``."""
    case, methods = job
    try:
        yield from ask(vlm, case, methods, answer_tokens)
    except InputError as error:  # a question that the model cannot read, features that are nan
        yield Skipped(case.id, str(error))
