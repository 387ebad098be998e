"""What runs side by side does the same work, and each side's updates are counted."""

import json
import sys
from contextlib import closing

import pytest

from marlspec.errors import InputError

from .machine import ROOT
from .peers.__main__ import PEERS, Worker, main, peer_named, require_same, speed
from .peers.results import ratios_of
from .peers.worker import contract, replay_capacity

WORKER = f"""
import sys
sys.path.insert(0, {str(ROOT / "bench" / "peers")!r})
import worker

made = [0]

def run(steps):
    print("this goes to stderr")
    made[0] += steps

options = worker.parser().parse_args()
worker.serve(worker.contract(options.copies, 7), ["pytest"], run, lambda: (made[0], made[0] * options.copies))
"""


@pytest.mark.parametrize(("copies", "rows"), [(16, 50_000), (256, 50_176), (1024, 51_200), (4096, 204_800)])
def test_a_replay_buffer_holds_whole_time_steps(copies, rows):
    assert replay_capacity(copies) == rows


def test_a_worker_says_what_it_made(tmp_path):
    script = tmp_path / "worker_of_mine.py"
    script.write_text(WORKER, encoding="utf-8")
    with closing(Worker([sys.executable, str(script), "--algorithm", "vdn", "--copies", "256"], 1)) as own:
        assert own.hello["contract"] == contract(256, 7)
        assert set(own.hello["versions"]) == {"pytest"}
        answer = own.steps(5)
    assert (answer["updates"], answer["env_steps"]) == (5, 5 * 256)


def test_a_worker_that_fails_is_told(tmp_path):
    with pytest.raises(InputError, match="ended with 3"):
        Worker([sys.executable, "-c", "raise SystemExit(3)"], 1)


def test_unlike_work_is_not_compared():
    require_same(contract(16, 7), contract(16, 7))
    with pytest.raises(InputError, match="parameters: ours 7, the peer's 8"):
        require_same(contract(16, 7), contract(16, 8))
    with pytest.raises(InputError, match="copies"):
        require_same(contract(16, 7), contract(32, 7) | {"capacity": replay_capacity(16)})


def test_speed_counts_only_steps_with_an_update():
    answer = {"updates": 10, "env_steps": 160, "wall": 2.0, "cpu": 1.0}
    assert speed(answer, 10, "wall") == 80.0
    assert speed(answer, 10, "cpu") == 160.0
    with pytest.raises(InputError, match="10 updates in 20 steps"):
        speed(answer, 20, "wall")


def test_a_peer_is_named_or_a_file(tmp_path):
    script = tmp_path / "mine.py"
    script.touch()
    assert peer_named("jax_scan").environment == "jax"
    assert peer_named("jaxmarl_vdn").share
    assert peer_named(str(script)).script == script
    with pytest.raises(InputError, match="jax_scan"):
        peer_named("jax_skan")


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_peer_has_its_worker_and_its_environment(peer):
    assert peer.script.is_file()
    pins = (ROOT / "bench" / "peers" / f"{peer.environment}.txt").read_text(encoding="utf-8").splitlines()
    assert pins
    assert all("==" in line for line in pins)
    assert f".venv-peers/{peer.environment}/.ready" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_without_its_environment_a_peer_is_not_run(tmp_path, capsys):
    assert main(["jax_scan", "--python", str(tmp_path / "python")]) == 2
    assert "make peers" in capsys.readouterr().err


def test_a_worker_that_cannot_run_ends_the_comparison(tmp_path, capsys):
    script = tmp_path / "mine.py"
    script.write_text("import sys; sys.exit(sys.argv[-2:] != ['--checkout', 'somewhere'])", encoding="utf-8")
    arguments = [str(script), "--python", sys.executable, "--checkout", "somewhere", "--forms", "neither"]
    assert main([*arguments, "--algorithms", "vdn", "--copies", "16"]) == 2
    assert "a worker ended with 2" in capsys.readouterr().err  # ours, which has no such form


def test_the_page_shows_the_latest_of_each_peer(tmp_path):
    folder = tmp_path / "peers"
    folder.mkdir()
    result = {"algorithm": "vdn", "form": "eager", "copies": 16, "ours": 10.0, "peer": 20.0, "ratio": 0.5}
    result |= {"lowest": 0.25, "highest": 1.0, "pairs": [[10, 20], [5, 20], [20, 20]]}
    session = {"git": {"revision": "0123456789abcdef"}, "threads": 1, "clock": "wall"}
    for taken in ("2029", "2030"):
        found = {"peer": "jax_scan", "game": "g", "versions": {"jax": "1"}, "session": session | {"taken": taken}}
        (folder / f"{taken}-jax_scan.json").write_text(json.dumps(found | {"results": [result]}), encoding="utf-8")
    text = "\n".join(ratios_of(tmp_path))
    assert text.count("jax_scan") == 1
    assert "taken 2030" in text
    assert "| vdn eager | 16 | 10 | 20 | 0.50 | 0.25 to 1.00 (3) |" in text
    assert ratios_of(tmp_path / "elsewhere") == []
