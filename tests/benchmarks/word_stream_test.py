"""Files of a stream of words, a stop on the way, and what is enough."""

import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import word_stream
from benchmarks.word_stream import (
    WORDS_PER_LINE,
    count_words,
    table,
    verdicts,
    write_files,
)
from language_model.corpora import open_lines
from translation.text.special_ids import EOS_ID


def test_files_are_dealt_out_have_the_words_and_stay(tmp_path, monkeypatch):
    made = [f"{n} b c d e f g h" for n in range(word_stream._PHRASES)]
    monkeypatch.setattr(word_stream, "phrases", lambda: made)
    write_files(tmp_path, 2_000, workers=2)
    # 1,000 words a worker are 41 lines of 24, and 16 words more: a second
    # file of each, and a third that is spare.
    paths = sorted(tmp_path.iterdir())
    corpus = open_lines(str(tmp_path / "text-*.txt"))
    lines = [list(corpus.shard(n, 2).read()) for n in range(2)]
    assert [len(each) for each in lines] == [3 * 41, 3 * 41]
    every = [line.split() for each in lines for line in each]
    assert {len(words) for words in every} == {WORDS_PER_LINE}
    assert len({*map(tuple, every)}) == len(every)  # all lines differ
    paths[0].write_text("kept\n")
    paths[1].unlink()
    write_files(tmp_path, 2_000, workers=2)
    assert paths[0].read_text() == "kept\n" and paths[1].exists()


def test_words_are_those_of_the_lines_that_end():
    class Ids:
        def numpy(self):
            return np.array([[5, EOS_ID, 7], [8, 9, EOS_ID]])

    assert count_words({"targets": Ids()}) == 2 * WORDS_PER_LINE


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    command = [sys.executable, word_stream.__file__, f"--folder={tmp_path}"]
    command += ["--million_words=2", "--workers=2", "--parts=20"]
    command += ["--seconds=1", "--set", "vocabulary_kind=words"]
    program = subprocess.Popen(command)
    while not (tmp_path / "places" / "checkpoint").exists():
        assert program.poll() is None
        time.sleep(0.01)
    workers = _children(program.pid)
    program.kill()  # alone: its workers see that it is gone
    program.wait()
    assert len(workers) == 2
    while any(map(_runs, workers)):
        time.sleep(0.01)
    # Its verdicts on speed are another matter.
    subprocess.run(command, stdout=subprocess.DEVNULL)
    figures = [
        json.loads((tmp_path / f"worker-{n}.json").read_text())
        for n in range(2)
    ]
    (begin, same) = [each["begins at"] for each in figures]
    assert begin == same and 0 < begin < 2_000_000
    # Of 20 parts those are read that were left, to the end of a line.
    total = begin + sum(each["words"] for each in figures)
    assert 2_000_000 <= total < 2_200_000


def _children(process):
    path = pathlib.Path(f"/proc/{process}/task/{process}/children")
    return path.read_text().split()


def _runs(process):
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    "changes, met",
    [
        ({}, [True, True, True]),
        ({"first batch, s": 61.0}, [False, True, True]),
        ({"resident, GB": 2.1}, [True, False, True]),
        ({"words/processor s": 199.0}, [True, True, False]),
    ],
)
def test_the_worst_worker_decides(changes, met):
    good = {
        "first batch, s": 20.0,
        "resident, GB": 0.8,
        "words/processor s": 200.0,
    }
    reading, training = [good, good | changes], {"words/processor s": 10.0}
    assert list(verdicts(reading, training).values()) == met
    lines = list(table(reading, training))
    assert lines[2] == "| worker 0 | 20.00 | 0.80 | 200 |"
    assert lines[-1] == "| training |  |  | 10.00 |"
