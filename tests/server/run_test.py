"""The program as a process: starts, says where it is, drains and ends."""

import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
from small_served import Client, save_version, wait_until

import server
from server import run

ROOT = pathlib.Path(server.__file__).parents[1]
PREDICT = "/v1/models/capitals:predict"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    save_version(folder, 1)
    return folder


class Program:
    """`python -m trainers.serve` on a free port."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trainers.serve", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said, self.client = [], None
        for line in self.process.stderr:
            self.said.append(line)
            if match := re.search(r"at http://\S+:(\d+)/", line):
                self.client = Client(int(match[1]))
                break

    def end(self, number=signal.SIGTERM):
        """Sends a signal; returns the exit code and the lines of the log."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        self.said.append(err)
        return self.process.returncode, out.splitlines()


class TestProgram:
    def test_sigterm_finishes_what_was_asked_and_ends_with_0(self, folder):
        program = Program(
            folder, "--port=0", "--model_name=capitals", "--timeout_seconds=3"
        )
        assert program.client, program.said
        found = []

        def ask():
            # It spins to its time-out, in the middle of which the signal comes.
            found.append(program.client.predict({"instances": ["spin"]}))

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(1)
        code, lines = program.end()
        asking.join()
        assert code == 0, program.said
        assert found[0][0] == 504  # answered, and not cut off
        (line,) = map(json.loads, lines)
        assert (line["route"], line["status"]) == ("predict", 504)
        assert "Traceback" not in "".join(program.said)

    def test_after_kill_9_the_next_start_serves(self, folder):
        program = Program(folder, "--port=0", "--model_name=capitals")
        assert program.end(signal.SIGKILL)[0] == -signal.SIGKILL
        program = Program(
            folder,
            "--port=0",
            "--model_name=capitals",
            MOE_SERVE_TOKEN="a token",
        )
        asked = {"instances": ["x"]}
        assert program.client.ask(PREDICT, asked)[0] == 401
        headers = {"Authorization": "Bearer a token"}
        assert program.client.ask(PREDICT, asked, headers)[0] == 200
        assert program.end(signal.SIGINT)[0] == 130


class TestOpenFiles:
    @pytest.mark.parametrize(
        "limits, expected",
        [
            ((1024, 20_000), (4256, 20_000)),  # 4,000 connections and 256
            ((1024, 2000), (2000, 2000)),
            ((20_000, 20_000), None),
            ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
        ],
    )
    def test_there_may_be_as_many_as_connections_need(
        self, monkeypatch, limits, expected
    ):
        found = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
        monkeypatch.setattr(resource, "setrlimit", lambda _, x: found.append(x))
        run._allow_open_files(4000)
        assert found == ([expected] if expected else [])


class TestRefusals:
    @pytest.mark.parametrize(
        "arguments, said",
        [
            (("--host=0.0.0.0",), "Error: --host=0.0.0.0 lets other machines"),
            (("--port=99999",), "Error: flag --port=99999"),
        ],
    )
    def test_one_line_says_what_is_wrong(self, folder, arguments, said):
        done = subprocess.run(
            [sys.executable, "-m", "trainers.serve", str(folder), *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert said in done.stderr and "Traceback" not in done.stderr

    def test_a_folder_without_a_version_that_loads(self, tmp_path):
        (tmp_path / "1").mkdir()
        (tmp_path / "1/saved_model.pb").write_bytes(b"no model")
        program = Program(tmp_path, "--port=0")
        assert program.process.wait(60) == 1
        assert "Version 1 cannot be loaded" in "".join(program.said)

    def test_a_port_that_is_taken(self, folder):
        program = Program(folder, "--port=0", "--model_name=capitals")
        port = program.client.port
        wait_until(lambda: program.client.ask("/readyz")[0] == 200)
        second = Program(folder, f"--port={port}")
        assert second.process.wait(60) == 1
        assert f"Cannot listen on 127.0.0.1, port {port}" in second.said[-1]
        assert program.end()[0] == 0
