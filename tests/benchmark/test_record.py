"""The result file: torn lines, other configurations, a second writer, a disk that is full."""

import gzip
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from small import answer

from stc_core import InputError
from stc_core.benchmark import answers_file
from stc_core.benchmark.answers_file import NAME, open_record

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {"checkpoint": "abc", "seeds": [1, 2], "versions": {"torch": "2"}}


def write(folder, *answers, about=ABOUT):
    with open_record(folder, about) as file:
        for one in answers:
            file.add(one)


def known(folder, about=ABOUT):
    with open_record(folder, about) as file:
        return list(file.known.values())


def test_answers_come_back_and_more_are_added(tmp_path):
    folder = tmp_path / "new" / "results"
    write(folder, answer("1"))
    write(folder, answer("2"), answer("1", "STC()"))
    assert known(folder) == [answer("1"), answer("2"), answer("1", "STC()")]
    lines = (folder / NAME).read_text().splitlines()
    assert json.loads(lines[0]) == ABOUT and len(lines) == 4


@pytest.mark.parametrize("torn", [1, 9, 60])
def test_a_half_written_last_line_is_dropped(tmp_path, torn):
    write(tmp_path, answer("1"), answer("2", answer="rot ü"))
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-torn])
    assert known(tmp_path) == [answer("1")]
    write(tmp_path, answer("3"))
    assert known(tmp_path) == [answer("1"), answer("3")]


def test_a_file_torn_in_its_first_line_begins_anew(tmp_path):
    (tmp_path / NAME).write_text(json.dumps(ABOUT)[:10])
    write(tmp_path, answer("1"))
    assert known(tmp_path) == [answer("1")]


def test_another_configuration_is_refused_and_what_differs_is_named(tmp_path):
    write(tmp_path, answer("1"))
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(InputError, match=r"another configuration \(seeds, more\)"):
        known(tmp_path, ABOUT | {"seeds": [3, 4], "more": 1})
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize("content", [b"hello\n", b"\x89PNG\r\n\xff", b"{}\n", b"[1]\n", b"1\n2\n"])
def test_what_is_no_result_file_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InputError, match="no result file"):
        known(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content


def test_a_line_damaged_in_the_middle_is_refused(tmp_path):
    write(tmp_path, answer("1"), answer("2"))
    path = tmp_path / NAME
    path.write_text(path.read_text().replace('"case": "1"', '"case: "1"'))
    with pytest.raises(InputError, match="no result file"):
        known(tmp_path)


def test_a_second_run_on_the_same_folder_is_refused_until_the_first_ends(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from stc_core.benchmark.answers_file import open_record\n"
        f"with open_record(Path({str(tmp_path)!r}), {ABOUT!r}) as r: pass"
    )
    other = [sys.executable, "-c", code]
    with open_record(tmp_path, ABOUT) as file:
        file.add(answer("1"))
        done = subprocess.run(other, capture_output=True, text=True, cwd=ROOT)
        assert "another run is writing" in done.stderr and done.returncode == 1
        with pytest.raises(InputError, match="another run is writing"):
            known(tmp_path)
        file.add(answer("2"))
    assert subprocess.run(other, capture_output=True, cwd=ROOT).returncode == 0
    assert len(known(tmp_path)) == 2


def test_a_disk_that_is_full_is_one_sentence_and_loses_nothing_before(tmp_path):
    write(tmp_path, answer("1"))
    room = (tmp_path / NAME).stat().st_size + 100
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        with pytest.raises(InputError, match="cannot write .*run again to go on"):
            write(tmp_path, answer("2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert known(tmp_path) == [answer("1")]


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        known(tmp_path / "file")
    with pytest.raises(InputError, match="cannot write"):
        known(tmp_path / "file" / "below")


def test_a_large_file_is_kept_compressed_and_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(answers_file, "LARGE", 500)
    write(tmp_path, answer("1"), answer("2"))
    packed = tmp_path / f"{NAME}.gz"
    assert packed.exists() and not (tmp_path / NAME).exists()
    first = packed.read_bytes()
    assert len(gzip.decompress(first).splitlines()) == 3
    assert len(known(tmp_path)) == 2
    assert packed.read_bytes() == first  # same lines, same bytes
    write(tmp_path, answer("3"))
    assert [one["case"] for one in known(tmp_path)] == ["1", "2", "3"]
    with pytest.raises(InputError, match="another configuration"):
        known(tmp_path, ABOUT | {"seeds": []})
    assert len(known(tmp_path)) == 3
