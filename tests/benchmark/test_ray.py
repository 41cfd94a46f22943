"""Workers of Ray: the same file as from one process, also when they are killed; nothing stays."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import torch
from inputs import SIZES
from typer.testing import CliRunner

from stc_core import METHODS, STC, InputError, load
from stc_core.__main__ import cli
from stc_core.benchmark.answers_file import NAME
from stc_core.benchmark.cases import Shapes
from stc_core.benchmark.ray_workers import Share, check_ray, open_cluster, share_of
from stc_core.benchmark.rows import Row
from stc_core.benchmark.run import run
from stc_core.shapes.model.sizes import build, save

ROOT = Path(__file__).resolve().parents[2]
TRIED = [None, STC(retention=0.2), METHODS["fastv"](retention=0.2)]

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None and "CI" not in os.environ,
    reason="ray is not installed (pip install -r requirements-ray.txt)",
)


# How machines are divided -------------------------------------------------------------------------

SHARES = {  # machines, what is asked for, workers, threads, GPUs
    "a core each for a small model": ([(8, 0)], {"small": True}, (8, 1, 0)),
    "a machine each for a large one": ([(8, 0), (4, 0)], {}, (2, 4, 0)),
    "cores divided": ([(8, 0)], {"workers": 3}, (3, 2, 0)),
    "over unequal machines": ([(8, 0), (4, 0)], {"workers": 3}, (3, 4, 0)),
    "a GPU each": ([(16, 4), (8, 2)], {}, (6, 4, 1)),
    "cores without a GPU do not count": ([(16, 4), (64, 0)], {}, (4, 4, 1)),
    "fewer than GPUs": ([(16, 4)], {"workers": 2, "device": "cuda"}, (2, 8, 1)),
    "GPUs left alone": ([(16, 4)], {"device": "cpu", "workers": 4}, (4, 4, 0)),
    "a model over all GPUs of a machine": ([(16, 4), (16, 4)], {"device": "auto"}, (2, 16, 4)),
    "a model over half of them": ([(16, 4)], {"device": "auto", "workers": 2}, (2, 8, 2)),
    "a model over memory alone": ([(16, 0)], {"device": "auto"}, (1, 16, 0)),
}


@pytest.mark.parametrize("case", SHARES)
def test_machines_are_divided_to_the_last_core(case):
    machines, asked, expected = SHARES[case]
    asked = {"workers": None, "device": None, "small": False} | asked
    share = share_of(machines, **asked)
    assert (share.workers, share.threads, share.gpus) == expected


def test_a_share_reads_as_a_person_would_say_it():
    assert str(Share(1, 1, 0)) == "1 worker of 1 thread"
    assert str(Share(2, 3, 0)) == "2 workers of 3 threads"
    assert str(Share(4, 3, 1)) == "4 workers of 1 GPU"
    assert str(Share(2, 3, 2)) == "2 workers of 2 GPUs"


@pytest.mark.parametrize(
    "machines, asked, message",
    [
        ([(2, 0)], {"workers": 3}, "cores of the cluster have room for 2 workers, not 3"),
        ([(2, 0)], {"workers": 0}, "not 0"),
        ([(8, 2)], {"workers": 3}, "GPUs of the cluster have room for 2 workers, not 3"),
        ([(8, 0)], {"device": "cuda"}, "no machine of the cluster has a GPU"),
        ([(8, 2)], {"device": "cuda:1"}, "a GPU of its own"),
    ],
)
def test_workers_without_room_are_refused(machines, asked, message):
    asked = {"workers": None, "device": None, "small": False} | asked
    with pytest.raises(InputError, match=message):
        share_of(machines, **asked)


# Before anything is started -----------------------------------------------------------------------


def test_without_ray_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in [name for name in sys.modules if name.split(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match="pip install -r requirements-ray.txt"):
        check_ray("local")


@needs_ray
def test_an_address_where_nobody_answers_is_one_sentence(tmp_path):
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = CliRunner().invoke(cli, ["benchmark", "--ray", address, "--output", str(tmp_path)])
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: no Ray cluster answers at '{address}'")
    assert not list(tmp_path.iterdir())


# Workers that answer ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fatal(STC):
    """Ends its process on a clip of six frames, as too large a clip would."""

    def outside(self, tokens, contribution, grid):
        if grid.frames == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().outside(tokens, contribution, grid)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save(*build(SIZES["even"], seed=1), folder, {"frames": 4})
    return folder


@pytest.fixture(scope="module")
def vlm(checkpoint):
    """The model in this process, with as many threads as a worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load(checkpoint, device="cpu")
    torch.set_num_threads(before)


@contextmanager
def ray_home():
    """Ray's files in a folder of their own, with a short name: it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", folder)
            patch.setenv("RAY_TMPDIR", folder)
            yield folder


@pytest.fixture(scope="module")
def home():
    with ray_home() as folder:
        yield folder


@pytest.fixture(scope="module")
def told():
    """What the cluster told."""
    return []


@pytest.fixture(scope="module")
def cluster(checkpoint, home, told):
    """Two workers, after which all is as before."""
    before = variables(), signal.getsignal(signal.SIGTERM)
    with open_cluster(str(checkpoint), workers=2, device="cpu", tell=told.append) as opened:
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no such module
        yield opened
    assert before == (variables(), signal.getsignal(signal.SIGTERM))
    assert gone(home)


def variables():
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


def processes(home):
    """All of the Ray that has its files there, workers included."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                if process.environ().get("RAY_TMPDIR") == home:
                    found.append(process)
        except psutil.Error:
            continue
    return found


def gone(home):
    limit = time.monotonic() + 60
    while processes(home) and time.monotonic() < limit:
        time.sleep(0.2)
    return not processes(home)


def working(home):
    return [p for p in processes(home) if "".join(p.cmdline()).startswith("ray::Worker.answer")]


def lines(folder):
    """Those of the result file, without times."""
    found = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


@needs_ray
def test_a_worker_killed_in_the_middle_changes_no_byte(vlm, cluster, told, home, tmp_path):
    rows = [Row(method, 4, 12, ("main",)) for method in TRIED]
    run(vlm, Shapes(vlm), rows, tmp_path / "serial")
    killed = []

    def kill(done, total):
        if done >= len(rows) and not killed and (found := working(home)):
            found[0].kill()
            killed.append(found[0].pid)

    outcome = run(vlm, Shapes(vlm), rows, tmp_path / "ray", cluster=cluster, on_answer=kill)
    assert killed and not psutil.pid_exists(killed[0])
    assert told[0] == "2 workers of 1 thread" and told[1].startswith("a worker died on 2000")
    assert len(told) == 2
    assert not outcome.skipped
    assert lines(tmp_path / "ray") == lines(tmp_path / "serial")


@needs_ray
def test_a_batch_that_kills_its_workers_is_skipped_and_the_others_go_on(vlm, cluster, tmp_path):
    fatal = Fatal(retention=0.2)
    rows = [Row(method, frames, 2) for frames in (4, 6) for method in (None, fatal)][:3]
    rows += [Row(fatal, 6, 1)]
    outcome = run(vlm, Shapes(vlm), rows, tmp_path, cluster=cluster)
    assert [s.id for s in outcome.skipped] == [next(Shapes(vlm).cases(1, 6)).id]
    assert outcome.skipped[0].why.startswith("2 workers died of it")
    asked = [(a["frames"], a["method"].split("(")[0]) for a in outcome.answers]
    assert asked == [(4, "none"), (4, "Fatal")] * 2 + [(6, "none")]


@needs_ray
def test_only_this_machine_can_reach_it_and_nothing_is_reported(cluster, home):
    addresses, commands = set(), []
    for process in processes(home):
        commands.append(process.cmdline())
        assert process.environ()["RAY_USAGE_STATS_ENABLED"] == "0"
        for connection in process.net_connections("inet"):
            addresses |= {end.ip.removeprefix("::ffff:") for end in connection[3:5] if end}
    assert addresses == {"127.0.0.1"}
    assert {"gcs_server", "raylet"} <= {Path(command[0]).name for command in commands}


@needs_ray
def test_a_worker_with_other_weights_is_refused(vlm, cluster, checkpoint, home, tmp_path):
    save(*build(SIZES["even"], seed=2), checkpoint, {"frames": 4})
    fatal = [Row(Fatal(retention=0.2), 6, 1)]
    with pytest.raises(InputError, match="the workers differ in checkpoint"):
        run(vlm, Shapes(vlm), fatal, tmp_path, cluster=cluster)


@needs_ray
def test_a_killed_command_leaves_no_process_and_a_file_to_go_on_with(tmp_path):
    model, processor = build(SIZES["even"], seed=1)
    save(model, processor, tmp_path / "tiny", {"frames": 4})
    output = tmp_path / "results"
    options = ["--model", tmp_path / "tiny", "--part", "main", "--method", "uniform"]
    options += ["--retention", 0.2, "--output", output]
    call = [sys.executable, "-m", "stc_core", "benchmark", *options, "--questions", 4000]
    path = output / NAME
    with ray_home() as home:
        process = subprocess.Popen(
            [*map(str, call), "--ray", "local", "--workers", "2"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        limit = time.monotonic() + 300
        while time.monotonic() < limit and count(path) < 8:
            time.sleep(0.05)
        assert processes(home)
        process.kill()
        process.wait()
        assert gone(home)
    there = count(path) - 1
    serial = ["benchmark", *map(str, options), "--questions", "20", "--workers", "1"]
    done = CliRunner().invoke(cli, serial)
    assert done.exit_code == 0 and there >= 7, done.stderr
    assert f"{min(there, 10)} of them known already" in done.stderr


def count(path):
    """Whole lines."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
