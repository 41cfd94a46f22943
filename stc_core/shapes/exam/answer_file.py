"""Keep the answers of an examination in a file, so that a stopped run can go on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stc_core.errors import InputError
from stc_core.shapes.exam.asking import Ask


class AnswerFile:
    """Read and write a file of answers: a header line, then one line per answer in order.

    Parameters
    ----------
    path : Path
    header : dict
        The configuration of the run. An existing file must have the same.

    Raises
    ------
    InputError
        The folder is missing, or the file belongs to another configuration or holds no answers.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        header = json.loads(json.dumps(header))
        if not path.parent.is_dir():
            raise InputError(f"the folder {str(path.parent)!r} does not exist; create it")
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]  # a kill may have torn the last line
            lines = [json.loads(line) for line in whole.splitlines()]
        except (OSError, ValueError, RecursionError):  # not text, not JSON, a folder
            raise InputError(f"{str(path)!r} is not a file of answers; choose another") from None
        self.known = deque(lines[1:])
        if not lines:
            if text:
                raise InputError(f"{str(path)!r} is not a file of answers; choose another")
            self._write([header])
        elif lines[0] != header:
            self._refuse(lines[0], header)
        elif whole != text:
            path.write_text(whole, encoding="utf-8")

    def next_line(self, asked: Ask) -> dict[str, Any] | None:
        """Return the next known line, or None after the last.

        Raises
        ------
        InputError
            The line is about another question.
        """
        if not self.known:
            return None
        line = self.known.popleft()
        if not isinstance(line, dict) or not self._line(asked).items() <= line.items():
            raise InputError(
                f"{str(self.path)!r} holds answers to other questions; choose another file"
            )
        return line

    def append(self, asked: Ask, found: dict[str, Any]) -> None:
        """Write what was found about a question as the next line."""
        self._write([self._line(asked) | found])

    def take(self, asked: list[Ask]) -> list[tuple[str, float]]:
        """Return (answer, its probability) for the first of ``asked``, as far as they are known."""
        taken: list[tuple[str, float]] = []
        while len(taken) < len(asked) and (line := self.next_line(asked[len(taken)])):
            taken.append((str(line["said"]), float(line["confidence"])))
        return taken

    def add(self, asked: list[Ask], answers: list[tuple[str, float]]) -> None:
        self._write(
            self._line(a) | {"said": said, "confidence": sure}
            for a, (said, sure) in zip(asked, answers, strict=True)
        )

    def _line(self, a: Ask) -> dict[str, Any]:
        answer = a.question.answer
        return {"part": a.part, "seed": a.seed, "question": a.question.text, "answer": answer}

    def _write(self, lines: Iterable[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def _refuse(self, found: Any, header: dict[str, Any]) -> None:
        differs = [k for k in header if not isinstance(found, dict) or found.get(k) != header[k]]
        raise InputError(
            f"{str(self.path)!r} holds answers of another configuration ({', '.join(differs)}); "
            "choose another file"
        )
