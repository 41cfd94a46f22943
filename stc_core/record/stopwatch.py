"""Measure wall time by stage and by generated token, and the peak of GPU memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stc_core.devices import forget_peak_memory, peak_memory, wait_for

__all__ = ["Stopwatch"]


class Stopwatch:
    """Add up seconds by stage; stages may nest, and every moment counts once.

    A moment belongs to the innermost stage that runs: compression that happens in a hook inside
    the prefill counts as compression, and the rest as prefill. So the stages' sum is the time in
    which any stage ran. A stage that is entered again adds to its former time.

    ```
    watch = Stopwatch("cuda")
    with watch("prefill"):
        ...  # a hook in here: watch.start("vision"), later watch.stop("vision")
    watch.seconds  # {"prefill": 0.03, "vision": 0.21}
    ```

    Parameters
    ----------
    device : where the work runs ("cpu", "cuda:0", "mps", a torch.device). GPUs work behind the
        caller's back, so the clock is read only after they have finished. None or "cpu" needs no
        torch.
    clock : seconds from any origin, never running backwards.

    Attributes
    ----------
    seconds : dict, stage -> seconds so far, in the order of first start.
    first_token : float or None, seconds from the making of the watch to the first `token()`.
    per_token : list of float, seconds between one `token()` and the next.
    """

    def __init__(self, device: Any = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self.device = str(device) if device is not None else "cpu"
        self._clock = clock
        self._running: list[str] = []
        self._paused = 0.0
        self.seconds: dict[str, float] = {}
        self.first_token: float | None = None
        self.per_token: list[float] = []
        forget_peak_memory(self.device)
        self._origin = self._last = self._last_token = self._now()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a block. Stages that an exception left running inside it are ended with it."""
        depth = len(self._running)
        self.start(stage)
        try:
            yield
        finally:
            self._account()
            del self._running[depth:]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave a block out of all that is measured, such as recording."""
        before = self._now()
        try:
            yield
        finally:
            self._paused += self._now() - before

    def so_far(self) -> float:
        """Return the seconds of the innermost stage up to now; 0 where none runs."""
        self._account()
        return self.seconds[self._running[-1]] if self._running else 0.0

    def credit(self, seconds: float) -> None:
        """Count ``seconds`` more than have passed, for work whose result was kept from before.

        So costs tell what a run from the start would have taken, and stay comparable.
        """
        self._paused -= seconds

    def start(self, stage: str) -> None:
        """Begin a stage inside whatever is running."""
        self._account()
        self._running.append(stage)
        self.seconds.setdefault(stage, 0.0)

    def stop(self, stage: str) -> None:
        """End the innermost stage, which must be this one."""
        if not self._running or self._running[-1] != stage:
            inner = repr(self._running[-1]) if self._running else "nothing"
            raise ValueError(
                f"cannot stop {stage!r}: {inner} is running; stop what was started last"
            )
        self._account()
        self._running.pop()

    def token(self) -> None:
        """Note that a token has been generated."""
        now = self._now()
        if self.first_token is None:
            self.first_token = now - self._origin
        else:
            self.per_token.append(now - self._last_token)
        self._last_token = now

    def peak_memory_bytes(self) -> int | None:
        """Return the most bytes that torch held on a CUDA device so far, else None.

        The counter belongs to the device: two watches on one GPU share it.
        """
        return peak_memory(self.device)

    def _account(self) -> None:
        """Give the time since the last event to the innermost stage."""
        now = self._now()
        if self._running:
            self.seconds[self._running[-1]] += now - self._last
        self._last = now

    def _now(self) -> float:
        wait_for(self.device)
        return self._clock() - self._paused
