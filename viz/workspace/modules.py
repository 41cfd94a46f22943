"""Join the page's ES modules into one plain script: no build step, nothing fetched.

``joined(entry, names)`` follows the imports of a module, puts every module behind what it imports,
each in a function of its own, so that names which it does not export stay its own::

    const { mount } = (() => {
    'use strict';
    const module0 = (() => { ...; return { FATE }; })(); // fates.js
    const module1 = (() => { const { FATE } = module0; ...; return { mount }; })(); // main.js
    return module1;
    })();

These statements are understood, each from the beginning of a line::

    import { name, other as mine } from './file.js';
    export function name  export async function name  export class Name  export const NAME

Every other import or export is refused with its file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NAME = r"[A-Za-z_$][\w$]*"
IMPORT = re.compile(r"import \{([\w$\s,]+)\} from '(\.\.?/[\w./-]+\.js)';[ ]*$", re.MULTILINE)
EXPORT = re.compile(rf"export ((?:async )?function|class|const) ({NAME})(?=[\s(=])")
ONE = re.compile(rf"({NAME})(?:\s+as\s+({NAME}))?")
# Where either word may begin a statement, and what no statement is: import(...), import.meta.
STATEMENT = re.compile(r"(?:^|[;}])[ \t]*(?P<word>import|export)\b|\bimport\s*[(.]", re.MULTILINE)


class ModuleError(Exception):
    """Report a fault in the source of a module, named by file and line."""


@dataclass(frozen=True)
class Module:
    """Hold one file, read.

    Attributes
    ----------
    path : Path
    code : str
        The source without its imports and without the word "export".
    imports : dict
        {path of another file: ((its name, name here, line), ...)}, in the order of the file.
    exports : tuple of str
    """

    path: Path
    code: str
    imports: dict[Path, tuple[tuple[str, str, int], ...]]
    exports: tuple[str, ...]


def joined(entry: Path, names: Iterable[str]) -> str:
    """Join a module and all that it imports.

    Parameters
    ----------
    entry : Path
    names : iterable of str
        What of its exports the script defines; nothing else is visible from outside.

    Returns
    -------
    str
        A script that runs as such and as the beginning of a function's body.

    Raises
    ------
    ModuleError
        For an import that leads to no file or to a name that is not exported, modules that import
        each other in a circle, and statements that are not understood.
    """
    modules = _ordered(entry.resolve())
    places = {module.path: f"module{number}" for number, module in enumerate(modules)}
    exported = {module.path: module.exports for module in modules}
    last, names = modules[-1], tuple(names)
    for name in names:
        if name not in last.exports:
            raise ModuleError(f"{last.path} does not export {name}")
    parts = [f"const {{ {', '.join(names)} }} = (() => {{\n'use strict';"]
    for module in modules:
        head = [_taken(module, path, exported, places) for path in module.imports]
        parts += [
            f"const {places[module.path]} = (() => {{ // {module.path.name}",
            *head,
            module.code,
            f"return {{ {', '.join(module.exports)} }};\n}})();",
        ]
    return "\n".join([*parts, f"return {places[last.path]};\n}})();\n"])


def read(path: Path) -> Module:
    """Read one module; `ModuleError` for what this file does not understand."""
    source = path.read_text("utf-8")
    taken, imports, exports = [], {}, []
    for found in STATEMENT.finditer(source):
        word = found["word"]
        begin = found.start("word") if word else found.start()
        line = source.count("\n", 0, begin) + 1
        at_start = begin == 0 or source[begin - 1] == "\n"
        known = {"import": IMPORT, "export": EXPORT}.get(word) if at_start else None
        match = known.match(source, begin) if known else None
        if not match:
            text = source[begin:].split("\n", 1)[0].strip()
            raise ModuleError(f"{path}:{line}: this import or export is not understood: {text}")
        if word == "export":
            exports.append(match[2])
            taken.append((begin, begin + len("export ")))
            continue
        target = (path.parent / match[2]).resolve()
        if not target.is_file():
            raise ModuleError(f"{path}:{line}: there is no file {match[2]}")
        imports[target] = imports.get(target, ()) + _names(match[1], path, line)
        taken.append(match.span())
    _once(path, [here for group in imports.values() for _, here, _ in group], exports)
    for begin, end in reversed(taken):
        source = source[:begin] + source[end:]
    return Module(path, source.strip("\n"), imports, tuple(exports))


def _names(listed: str, path: Path, line: int) -> tuple[tuple[str, str, int], ...]:
    """Return ((exported name, name here, line), ...) of what stands between the braces."""
    found = []
    for one in filter(None, map(str.strip, listed.split(","))):
        match = ONE.fullmatch(one)
        if not match:
            raise ModuleError(f"{path}:{line}: this import is not understood: {one}")
        found.append((match[1], match[2] or match[1], line))
    return tuple(found)


def _once(path: Path, imported: list[str], exported: list[str]) -> None:
    every = imported + exported
    for name in every:
        if every.count(name) > 1:
            raise ModuleError(f"{path}: {name} is imported or exported twice")


def _ordered(entry: Path) -> list[Module]:
    """Return the entry and all that it imports, each behind what it imports itself."""
    done: dict[Path, Module] = {}
    open_: list[Path] = []

    def visit(path: Path) -> None:
        if path in done:
            return
        if path in open_:
            circle = [one.name for one in [*open_[open_.index(path) :], path]]
            raise ModuleError(f"{path}: modules import each other: {' -> '.join(circle)}")
        open_.append(path)
        module = read(path)
        for other in module.imports:
            visit(other)
        done[open_.pop()] = module

    visit(entry)
    return list(done.values())


def _taken(module: Module, path: Path, exported: dict, places: dict) -> str:
    """Return the line that takes names out of a module which ran before."""
    pairs = []
    for name, here, line in module.imports[path]:
        if name not in exported[path]:
            raise ModuleError(f"{module.path}:{line}: {path.name} does not export {name}")
        pairs.append(name if name == here else f"{name}: {here}")
    return f"const {{ {', '.join(pairs)} }} = {places[path]};"
