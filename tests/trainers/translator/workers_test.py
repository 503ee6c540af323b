"""Workers in real processes on this machine: together, killed, started again.

They find each other at ports of the loopback; whatever happens, the tests end
every process that they start.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import keras
import pytest
import small_training
import small_workers

from benchmarks.kill_resume import differences
from trainers.engine.checkpoints.recent import training_folder

ROOT = pathlib.Path(small_training.__file__).parents[1]
STEPS = 9


class Crew:
    """So many workers with one folder; each writes to a file of its own."""

    def __init__(self, folder, number, **options):
        self.folder = folder
        self.addresses = _addresses(number)
        self.options = {
            "steps": STEPS,
            "addresses": self.addresses,
            **options,
        }
        self.processes = []

    def start(self):
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        for index in range(len(self.addresses)):
            with open(self.output(index), "wb") as file:
                self.processes.append(
                    subprocess.Popen(
                        [
                            sys.executable,
                            str(ROOT / "tests/small_workers.py"),
                            str(self.folder / "run"),
                            json.dumps({**self.options, "index": index}),
                        ],
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        env=environment,
                    )
                )

    def output(self, index):
        return self.folder / f"worker-{index}.txt"

    def text(self, index):
        return self.output(index).read_text()

    def wait(self, timeout):
        """Exit codes of all."""
        deadline = time.monotonic() + timeout
        return [
            process.wait(max(deadline - time.monotonic(), 0.1))
            for process in self.processes
        ]

    def wait_for_line(self, beginning, timeout):
        """Until the chief has written it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            lines = self.text(0).splitlines()
            if any(line.startswith(beginning) for line in lines):
                return
            assert self.processes[0].poll() is None, self.text(0)[-2000:]
            time.sleep(0.1)
        raise AssertionError(f"no {beginning!r} in {self.text(0)[-2000:]}")

    def end(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        self.processes = []


def _addresses(number):
    servers = [socket.create_server(("", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return [f"localhost:{port}" for port in ports]


@contextlib.contextmanager
def _crew(folder, number, **options):
    folder.mkdir(parents=True, exist_ok=True)
    crew = Crew(folder, number, **options)
    try:
        yield crew
    finally:
        crew.end()


def _train_undisturbed(folder, number, **options):
    """The last checkpoint of workers that nobody has disturbed."""
    with _crew(folder, number, **options) as crew:
        crew.start()
        codes = crew.wait(timeout=300 * number)
        assert codes == [0] * number, crew.text(0)[-3000:]
        assert f"step {STEPS}/{STEPS}" in crew.text(0)
    stored = training_folder(folder / "run").stored()[-1]
    assert stored.step == STEPS
    return stored.path


def _compare_with_one_device(checkpoint, folder, monkeypatch, **options):
    monkeypatch.setattr(keras.random, "normal", small_workers.no_noise)
    small_workers.train(folder / "one", STEPS, log=lambda line: None, **options)
    run = checkpoint.parents[1]
    return small_workers.largest_difference(folder / "one", run)


def _killed_and_resumed(folder, number, victim, **options):
    """Kills a worker in training, starts all again; the last checkpoint."""
    with _crew(folder, number, **options) as crew:
        crew.start()
        crew.wait_for_line("step 4/", timeout=300 * number)
        crew.processes[victim].send_signal(signal.SIGKILL)
        codes = crew.wait(timeout=60)
        for index, code in enumerate(codes):
            if index == victim:
                continue
            assert code == 1
            # Python's shutdown may add words on a thread pool of TensorFlow.
            lines = crew.text(index).splitlines()
            (told,) = [line for line in lines if line.startswith("Error: ")]
            assert told.startswith(f"Error: Lost worker {victim} (localhost:")
            assert "from the last checkpoint" in told
        crew.end()
        crew.start()
        assert crew.wait(timeout=300 * number) == [0] * number
        assert "Resuming after step 3." in crew.text(0)
    return training_folder(folder / "run").stored()[-1].path


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return _train_undisturbed(folder, 2, layout="experts:replica")


@pytest.mark.slow
def test_two_workers_equal_one_device(two_workers, tmp_path, monkeypatch):
    """After 9 steps, weights, averages and moments agree to 1e-5."""
    largest, compared = _compare_with_one_device(
        two_workers, tmp_path, monkeypatch
    )
    assert compared > 40 and largest < 1e-5


@pytest.mark.slow
def test_two_workers_in_bfloat16(bfloat16, tmp_path, monkeypatch):
    """To 0.01 of one device, of which Adam moves a weight by up to 0.09.

    A rounding of bfloat16 is 2^-8 of a number, and how many there are in a
    sum depends on the processor: one with AVX512_BF16 adds products in pairs.
    """
    two = _train_undisturbed(
        tmp_path, 2, layout="experts:replica", precision="mixed_bfloat16"
    )
    largest, compared = _compare_with_one_device(two, tmp_path, monkeypatch)
    assert compared > 40 and largest < 1e-2


@pytest.mark.slow
def test_one_of_two_is_killed(two_workers, tmp_path):
    killed = _killed_and_resumed(
        tmp_path, 2, victim=1, layout="experts:replica", seconds=3.0
    )
    differing, compared = differences(two_workers, killed)
    assert compared > 40 and not differing


@pytest.mark.slow
@pytest.mark.parametrize("layout", [None, "experts:replica"])
def test_four_workers_equal_one_device(layout, tmp_path, monkeypatch):
    four = _train_undisturbed(tmp_path, 4, layout=layout)
    largest, compared = _compare_with_one_device(four, tmp_path, monkeypatch)
    assert compared > 40 and largest < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("layout", [None, "experts:replica"])
def test_four_workers_with_three_tokens_and_full_experts(
    layout, tmp_path, monkeypatch
):
    """With two levels of gates; one worker has no token, and waits."""
    four = _train_undisturbed(tmp_path, 4, layout=layout, is_hard=True)
    largest, compared = _compare_with_one_device(
        four, tmp_path, monkeypatch, is_hard=True
    )
    assert compared > 40 and largest < 1e-5


@pytest.mark.slow
def test_one_of_four_is_killed_with_noise_and_dropout(tmp_path):
    alone = _train_undisturbed(tmp_path / "alone", 4, is_random=True)
    killed = _killed_and_resumed(
        tmp_path / "killed", 4, 2, is_random=True, seconds=3.0
    )
    differing, compared = differences(alone, killed)
    assert compared > 40 and not differing
