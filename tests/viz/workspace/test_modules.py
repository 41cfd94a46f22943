"""ES modules as one script: it does what the modules do, and what cannot be joined is named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from node import node_path  # noqa: F401

from viz.workspace.modules import ModuleError, joined, read

VIZ = Path(__file__).parents[3] / "viz"
ENTRIES = {
    "workspace/js/main.js": "mount",
    "workspace/js/lesson.js": "Lesson",
    "errors/view.js": "ErrorTable",
    "lesson/tour.js": "Tour",
    "lesson/definitions.js": "Definitions",
}


@pytest.fixture
def files(tmp_path):
    """files({name: source}) -> the folder."""

    def write(sources: dict[str, str]) -> Path:
        for name, source in sources.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(source, encoding="utf-8")
        return tmp_path

    return write


def printed(node_path: str, script: str, value: str):  # noqa: F811
    """``value`` after the script, which runs as a plain script, not as a module."""
    done = subprocess.run(
        [node_path, "--input-type=commonjs", "-"],
        capture_output=True,
        text=True,
        input=f"{script}\nconsole.log(JSON.stringify({value}));",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


GOOD = {
    "main.js": """// What the page sees.

import { Base, LIMIT as most } from './parts/base.js';
import {
  later,
  twice,
} from './parts/numbers.js';

const own = 'main';

export class Child extends Base {
  all() { return [own, this.mine(), twice(most), `export { ${own} }`]; }
}
export async function soon() { return later(); }
const hidden = 1; // import is a word, too
""",
    "parts/base.js": """import { twice } from './numbers.js';
const own = 'base';
export const LIMIT = twice(3);
export class Base {
  mine() { return own; }
}
""",
    "parts/numbers.js": """const own = 2;
export function twice(value) { return own * value; }
export async function later() { return own; }
""",
}


def test_modules_keep_their_names_to_themselves(files, node_path):  # noqa: F811
    script = joined(files(GOOD) / "main.js", ["Child", "soon"])
    found = printed(node_path, script, "new Child().all()")
    assert found == ["main", "base", 12, "export { main }"]
    names = ("own", "hidden", "twice", "Base", "LIMIT", "module0")
    seen = printed(node_path, script, f"[{', '.join(f'typeof {name}' for name in names)}]")
    assert seen == ["undefined"] * len(names)


def test_a_module_runs_once_behind_what_it_imports(files, node_path):  # noqa: F811
    folder = files(
        {
            "a.js": "export const log = [];\nlog.push('a');\n",
            "b.js": "import { log } from './a.js';\nlog.push('b');\nexport const b = 1;\n",
            "c.js": "import { log } from './a.js';\nimport { b } from './b.js';\nlog.push('c');\n"
            "export const c = b;\n",
            "d.js": "import { c } from './c.js';\nimport { b } from './b.js';\n"
            "import { log } from './a.js';\nexport const found = [...log, b, c];\n",
        }
    )
    assert printed(node_path, joined(folder / "d.js", ["found"]), "found") == ["a", "b", "c", 1, 1]


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_pages_own_modules(node_path, entry):  # noqa: F811
    name = ENTRIES[entry]
    assert printed(node_path, joined(VIZ / entry, [name]), f"typeof {name}") == "function"


def test_every_module_is_part_of_a_script():
    """A file that nobody imports would be dead."""
    met, ahead = set(), [(VIZ / entry).resolve() for entry in ENTRIES]
    while ahead:
        path = ahead.pop()
        if path not in met:
            met.add(path)
            ahead += read(path).imports
    assert met == {path.resolve() for path in VIZ.rglob("*.js")}


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({"main.js": "import { a } from './none.js';\nexport const b = a;\n"},
         "main.js:1: there is no file ./none.js"),
        ({"main.js": "\nimport { a, c } from './a.js';\nexport const b = a;\n",
          "a.js": "export const a = 1;\nconst c = 2;\n"},
         "main.js:2: a.js does not export c"),
        ({"main.js": "import { a } from './a.js';\nexport const b = a;\n",
          "a.js": "import { c } from './c.js';\nexport const a = c;\n",
          "c.js": "import { a } from './a.js';\nexport const c = a;\n"},
         "modules import each other: a.js -> c.js -> a.js"),
        ({"main.js": "import { b as c } from './main.js';\nexport const b = c;\n"},
         "modules import each other: main.js -> main.js"),
        ({"main.js": "import { a } from './a.js';\nimport { a } from './c.js';\n"
                     "export const b = a;\n",
          "a.js": "export const a = 1;\n", "c.js": "export const a = 1;\n"},
         "main.js: a is imported or exported twice"),
        ({"main.js": "export const c = 1;\n"}, "main.js does not export b"),
    ],
    ids=["file", "export", "circle", "itself", "twice", "entry"],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(files, sources, said):
    with pytest.raises(ModuleError) as raised:
        joined(files(sources) / "main.js", ["b"])
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "line",
    [
        "import a from './a.js';", "import * as a from './a.js';", "import './a.js';",
        "import { a } from 'a';", "import { a } from \"./a.js\";", "import { a } from './a.js'",
        "import { a } from './a.json';", "import { a } from 'https://example.org/a.js';",
        "import { a } from './a.js' with { type: 'json' };", "import { a as } from './a.js';",
        "import{ a } from './a.js';", "import { 'a b' as a } from './a.js';",
        "  import { a } from './a.js';", "const b = 1; import { a } from './a.js';",
        "const a = await import('./a.js');", "const a = import.meta.url;",
        "export default 1;", "export { c };", "export * from './a.js';", "export let d = 1;",
        "export var d = 1;", "export { a } from './a.js';", "export const { d } = {};",
        "export const [d] = [];", "export function* d() {}", "export function (d) {}",
        "  export const d = 1;", "const d = 1; export { d };", "export class {}",
    ],
)  # fmt: skip
def test_another_form_is_refused_by_file_and_line(files, line):
    folder = files(
        {
            "a.js": "export const a = 1;\n",
            "main.js": f"// two lines\n// above\n{line}\nexport const c = 1;\n",
        }
    )
    with pytest.raises(ModuleError, match=r"main\.js:3: this import .*is not understood"):
        joined(folder / "main.js", ["c"])
