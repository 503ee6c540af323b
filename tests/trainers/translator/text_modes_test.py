"""A model as a filter: what comes in, what goes out, and in which form."""

import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from model_folders import SENTENCES, make_folder

from trainers.translator.text_modes import (
    LineTranslator,
    PairScorer,
    line_groups,
    pair_groups,
    prefixed_groups,
)
from translation.text.corpora.corpus import CorpusError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    return make_folder(path, seeds=(1, 2, 3)).path


@pytest.fixture(scope="module")
def hard(folder):
    """What is said of each sentence and a blank, with links of words."""
    translate = LineTranslator(folder, alignments="hard")
    lines = translate([SENTENCES[0], "  ", *SENTENCES[1:], ""])
    assert translate([]) == []
    return lines


@pytest.fixture(scope="module")
def best(hard):
    """The best translation of each sentence."""
    texts = [line.split(" ||| ")[0] for line in hard]
    assert texts[1] == texts[-1] == ""
    return [texts[0], *texts[2:-1]]


@pytest.fixture(scope="module")
def nbest(folder):
    """Three translations of each sentence in two groups, split into parts."""
    translate = LineTranslator(folder, n_best=3, alignments="soft")
    return [
        line.split(" ||| ")
        for group in (SENTENCES[:3], SENTENCES[3:])
        for line in translate(group)
    ]


class TestLineTranslator:
    def test_a_line_for_each_line_and_blank_for_blank(self, hard, best):
        assert len(hard) == len(SENTENCES) + 2
        assert hard[1] == hard[-1] == " ||| " and all(best)

    def test_n_best_has_numbers_and_falling_scores(self, nbest, best):
        numbers = [int(number) for number, *_ in nbest]
        assert numbers == sorted(numbers) and set(numbers) == {0, 1, 2, 3}
        for number, text in enumerate(best):
            mine = [x for x in nbest if int(x[0]) == number]
            assert mine[0][1] == text  # the first is what one would be
            scores = [float(score) for _, _, score, _ in mine]
            assert 1 < len(mine) <= 3
            assert scores == sorted(scores, reverse=True)

    def test_translations_begin_with_prefixes(self, folder, best):
        translate = LineTranslator(folder, n_best=2, alignments="soft")
        lines = translate([(SENTENCES[0], "oh th"), (SENTENCES[1], "")])
        parts = [line.split(" ||| ") for line in lines]
        assert [x[0] for x in parts] == ["0", "0", "1", "1"]
        assert all(x[1].startswith("oh th") for x in parts[:2])
        assert parts[2][1] == best[1]
        for _, text, _, soft in parts[:2]:
            pieces = "".join(json.loads(soft)["target"][:-1])
            assert pieces.replace("▁", " ").startswith(" oh th"), text

    def test_lines_and_the_seed_decide_what_is_drawn(self, folder):
        changes = ["sampling=True", "temperature=0.9", "sampling_seed=4"]
        one = LineTranslator(folder, changes, n_best=4)
        lines = one(SENTENCES)
        other = LineTranslator(folder, changes, n_best=4)
        in_parts = other(SENTENCES[:1]) + other(SENTENCES[1:])
        texts = [line.split(" ||| ")[:2] for line in lines]
        assert [line.split(" ||| ")[:2] for line in in_parts] == texts
        assert len(lines) == 4 * len(SENTENCES)
        assert len({text for _, text in texts}) > len(SENTENCES)

    def test_hard_alignment_links_every_word(self, hard):
        lines = [line for line in hard if line != " ||| "]
        for source, line in zip(SENTENCES, lines, strict=True):
            text, links = line.split(" ||| ")
            pairs = [link.split("-") for link in links.split()]
            words = [word for word in text.split(" ") if word]
            assert [int(j) for _, j in pairs] == list(range(len(words)))
            assert all(int(i) < len(source.split()) for i, _ in pairs)

    def test_soft_alignment_is_a_distribution_for_each_subword(self, nbest):
        for number, _, _, soft in nbest:
            soft = json.loads(soft)
            assert soft["source"][-1] == soft["target"][-1] == "</s>"
            text = "".join(soft["source"][:-1]).replace("▁", " ")[1:]
            assert text == SENTENCES[int(number)]
            weights = np.array(soft["attention"])
            assert weights.shape == (len(soft["target"]), len(soft["source"]))
            np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-3)

    def test_more_than_the_beam_is_wide_says_what_to_change(self, folder):
        with pytest.raises(ValueError, match="made wider.*num_translations=4"):
            LineTranslator(folder, n_best=4)


def test_scores_of_tokens_add_up_and_are_those_of_the_search(folder, nbest):
    scorer = PairScorer(folder)
    assert scorer([]) == []
    pairs = [(SENTENCES[int(number)], text) for number, text, *_ in nbest]
    for line, (_, _, score, soft) in zip(scorer(pairs), nbest, strict=True):
        log_prob, own_score, subwords, log_probs = line.split("\t")
        each = [float(x) for x in log_probs.split()]
        assert sum(each) == pytest.approx(float(log_prob), abs=1e-3)
        assert len(subwords.split()) == len(each)
        if subwords.split() == json.loads(soft)["target"]:
            assert float(own_score) == pytest.approx(float(score), abs=1e-3)


class Slow(io.RawIOBase):
    """A pipe that gives these pieces, one at a time."""

    def __init__(self, *pieces):
        self._pieces = list(pieces)
        self.taken = 0

    def read1(self, size):
        self.taken += 1
        return self._pieces.pop(0) if self._pieces else b""


class TestLines:
    def test_a_line_is_given_on_before_the_next_is_asked_for(self):
        pipe = Slow(b"one\ntw", b"o\n", b"thr", b"ee\n\nfour")
        groups = line_groups([], pipe)
        assert (next(groups), pipe.taken) == (["one"], 1)
        assert (next(groups), pipe.taken) == (["two"], 2)
        assert list(groups) == [["three", ""], ["four"]]

    def test_as_many_lines_as_wc_counts_and_no_more(self):
        assert list(line_groups([], Slow())) == []
        assert list(line_groups([], Slow(b"\n"))) == [[""]]
        odd = "a\u2028b\x0bc\r\n".encode() + b"\xff\n"
        assert list(line_groups([], Slow(odd))) == [["a\u2028b\x0bc", "\ufffd"]]

    def test_files_are_read_one_after_the_other(self, tmp_path):
        (tmp_path / "a").write_text("one\ntwo\n")
        (tmp_path / "b").write_text("three")
        paths = [str(tmp_path / name) for name in "ab"]
        assert list(line_groups(paths, None)) == [["one", "two", "three"]]

    def test_pairs_of_the_pipe_and_of_corpora(self, tmp_path):
        pipe = Slow(b"one\tun\ntwo\t", b"deux\n")
        pairs = [("one", "un"), ("two", "deux")]
        assert list(pair_groups([], "en-fr", pipe)) == [pairs[:1], pairs[1:]]
        (tmp_path / "x.en").write_text("one\ntwo\n")
        (tmp_path / "x.fr").write_text("un\ndeux\n")
        prefix = str(tmp_path / "x")
        assert list(pair_groups([prefix], "en-fr", None)) == [pairs]

    def test_prefixes_stand_behind_a_tab(self):
        groups = [["one\tun", "two"], ["three\t"]]
        assert list(prefixed_groups(groups)) == [
            [("one", "un"), ("two", "")],
            [("three", "")],
        ]
        groups = prefixed_groups([["one"], ["two\tdeux", "a\tb\tc", "four"]])
        assert next(groups) == [("one", "")]
        assert next(groups) == [("two", "deux")]  # before the fault
        with pytest.raises(CorpusError, match="Line 3: .*found 3 columns"):
            next(groups)

    def test_missing_file_is_told_before_any_is_read(self, tmp_path):
        there, missing = tmp_path / "there", tmp_path / "missing"
        there.write_text("one\n")
        with pytest.raises(CorpusError, match=f"There is no file {missing}"):
            line_groups([str(there), str(missing)], io.BytesIO())

    def test_byte_order_mark_begins_a_file_and_a_pipe(self, tmp_path):
        (tmp_path / "a").write_bytes("\ufeffone\n\ufefftwo\n".encode())
        pipe = Slow(b"\xef", b"\xbb\xbfone\n", "\ufefftwo\n".encode())
        by_path = list(line_groups([str(tmp_path / "a")], None))
        assert by_path == [["one", "\ufefftwo"]]
        assert list(line_groups([], pipe)) == [["one"], ["\ufefftwo"]]
        pairs = pair_groups([], "en-fr", Slow("\ufeffa\tb\n".encode()))
        assert list(pairs) == [[("a", "b")]]

    @pytest.mark.parametrize("name", ["-", "/dev/stdin"])
    def test_names_of_standard_input(self, name, tmp_path):
        (tmp_path / "a").write_text("one\n")
        paths = [str(tmp_path / "a"), name]
        code = (
            "import sys; from trainers.translator.text_modes import *; "
            "print(list(line_groups(sys.argv[1:], sys.stdin.buffer)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *paths],
            input=b"two\nthree",
            capture_output=True,
        )
        assert done.stdout == b"[['one'], ['two'], ['three']]\n", done.stderr

    def test_pipes_by_path_are_read_as_they_come(self, tmp_path):
        pipes = [tmp_path / "a", tmp_path / "b"]
        for pipe in pipes:
            os.mkfifo(pipe)
        writers = [
            subprocess.Popen(["sh", "-c", f"printf '{text}' > {pipe}"])
            for pipe, text in zip(pipes, ("one\\ntwo", "a\\tb\\n"), strict=True)
        ]
        lines = list(line_groups([str(pipes[0])], None))
        assert sum(lines, []) == ["one", "two"]
        pairs = pair_groups([str(pipes[1])], "en-fr", None)
        assert list(pairs) == [[("a", "b")]]
        assert [writer.wait() for writer in writers] == [0, 0]

    def test_what_comes_before_a_fault_is_given_first(self, tmp_path):
        (tmp_path / "a").write_bytes(b"one\ntwo\n\xff\nfour\n")
        lines = line_groups([str(tmp_path / "a")], None)
        (tmp_path / "x.tsv").write_text("a\tb\nc\n")
        pairs = pair_groups([str(tmp_path / "x.tsv")], "en-fr", None)
        piped = pair_groups([], "en-fr", Slow(b"a\tb\nc\nd\te\n"))
        assert next(pairs) == next(piped) == [("a", "b")]
        assert next(lines) == ["one", "two"]
        for groups, fault in (
            (lines, "line 3: not UTF-8 at byte 1"),
            (pairs, "x.tsv, line 2: .*found 1"),
            (piped, "Standard input, line 2: .*found 1"),
        ):
            with pytest.raises(CorpusError, match=fault):
                next(groups)

    def test_blank_line_is_a_pair_of_empty_texts(self):
        pipe = Slow("\n\u3000\na\t\n\tb\n\t\n".encode())
        [pairs] = pair_groups([], "en-fr", pipe)
        assert pairs == [("", ""), ("", ""), ("a", ""), ("", "b"), ("", "")]

    def test_long_line_is_read_in_linear_time(self):
        # 32 MB in pieces of 64 KB: half of all pairs of pieces would be
        # copied if each piece made the line anew, 8 GB.
        pipe = Slow(*[b"x" * (1 << 16)] * 512)
        start = time.process_time()
        [[line]] = line_groups([], pipe)
        assert len(line) == 1 << 25
        assert time.process_time() - start < 2

    def test_line_that_is_no_pair_is_named(self):
        pipe = Slow(b"one\tun\n", b"two\n")
        groups = pair_groups([], "en-fr", pipe)
        next(groups)
        with pytest.raises(CorpusError, match="line 2: .*found 1"):
            next(groups)


def test_program_answers_each_line_while_the_pipe_stays_open(folder, best):
    command = [sys.executable, "-m", "trainers.nmt", f"--model_dir={folder}"]
    process = subprocess.Popen(
        [*command, "--mode=translate", "--ensemble=best:1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    for source, text in zip(SENTENCES[:2], best, strict=False):
        process.stdin.write(f"{source}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline().decode() == f"{text}\n"
    process.stdout.close()  # as `| head -2` does
    process.stdin.write(b"oh\n")
    process.stdin.close()
    assert process.wait() == 141
