"""Tell how far a run is."""

from __future__ import annotations

from collections.abc import Callable

from stc_core.record.stopwatch import Stopwatch

Progress = Callable[[str, float], None]  # stage, share of all work done
# how far each stage is through one run of the model, for a progress bar
SHARES = {"vision": 0.05, "compression": 0.5, "prefill": 0.55, "answer": 0.8}


class Reporter(Stopwatch):
    """Report each stage as it starts, with the share of all work that is done."""

    def __init__(
        self,
        device: str,
        report: Progress | None = None,
        start: float = 0.0,
        end: float = 1.0,
        prefix: str = "",
    ) -> None:
        super().__init__(device)
        report = report or (lambda stage, share: None)
        self._report, self._start, self._end, self._prefix = report, start, end, prefix
        self._share = start
        self._reached = ""  # the furthest stage that was told of

    def start(self, stage: str) -> None:
        # each layer that compresses, and each token, starts a stage that was reached before
        if SHARES.get(stage, 0) > SHARES.get(self._reached, 0):
            self._reached = stage
            self.tell(stage, SHARES[stage])
        super().start(stage)

    def seen(self, frames: int, total: int) -> None:
        """Note how many of all frames have passed the vision tower."""
        share = SHARES["vision"] + (SHARES["compression"] - SHARES["vision"]) * frames / total
        self.tell(f"vision {frames}/{total} frames", share)

    def tell(self, stage: str, share: float) -> None:
        if stage in SHARES:
            self._reached = max(self._reached, stage, key=lambda one: SHARES.get(one, 0))
        self._share = max(self._share, self._start + share * (self._end - self._start))
        self._report(self._prefix + stage, self._share)
