"""A model as a filter: what comes in, what goes out, and in which form."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from model_folders import SENTENCES, make_folder

from trainers.translator.folder import ModelFolder
from trainers.translator.text_modes import LineTranslator, PairScorer
from translation.text.long_texts import parts_of


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


class TestLongLines:
    """Lines of more than 12 subwords, where a word is 2 or more."""

    LONG = "the dog sleeps. a small dog. a cat sees. oh oh oh"

    def translator(self, folder, lines, **options):
        return LineTranslator(
            folder, max_source_length=12, warn=lines.append, **options
        )

    def size(self, folder, text):
        tokenizer = ModelFolder(folder).load_tokenizer()
        return len(tokenizer.encode([text])[0]) + 1

    def test_long_line_is_named_with_its_size_and_cut(self, folder):
        said = []
        translate = self.translator(folder, said)
        translate(["oh", "oh"])
        [long] = translate([self.LONG])
        size = self.size(folder, self.LONG)
        assert said == [
            f"Line 3 has {size} subwords, over 12: only the first 11 are "
            "translated. --long_lines=split translates all."
        ]
        assert long == translate([self.LONG + " oh"])[0]

    @pytest.mark.slow
    def test_split_line_is_the_translations_of_its_parts(self, folder):
        said = []
        translate = self.translator(folder, said, long_lines="split")
        lines = translate(["oh", self.LONG, "a cat"])
        assert said[0].endswith(
            "over 12: it is translated sentence by sentence."
        )
        parts = parts_of(self.LONG, lambda part: self.size(folder, part) <= 12)
        assert len(parts) > 1 and " ".join(parts) == self.LONG
        each = [text.strip() for text in translate(parts)]
        assert lines[1] == " ".join(filter(None, each))
        assert len(said) == 1
        whole = LineTranslator(folder)(["oh", "a cat"])
        assert [lines[0], lines[2]] == whole

    def test_prefix_begins_the_first_part(self, folder):
        translate = self.translator(folder, [], long_lines="split")
        [line] = translate([(self.LONG, "a cat")])
        assert line.startswith("a cat")

    def test_refused_line_ends_with_its_number(self, folder):
        translate = self.translator(folder, [], long_lines="refuse")
        assert len(translate(["oh"])) == 1
        with pytest.raises(ValueError, match="Line 3 .* over 12. --long_lines"):
            translate(["oh", self.LONG])

    def test_n_best_of_a_split_line_are_the_best_of_all_combinations(
        self, folder
    ):
        options = {"long_lines": "split", "n_best": 3}
        translate = self.translator(folder, [], **options)
        lines = [line.split(" ||| ") for line in translate([self.LONG, "oh"])]
        assert [number for number, *_ in lines[:3]] == 3 * ["0"]
        parts = parts_of(self.LONG, lambda part: self.size(folder, part) <= 12)
        each = [
            [line.split(" ||| ")[1:] for line in translate([part])]
            for part in parts
        ]
        combined = sorted(
            (
                (
                    sum(float(score) for _, score in choice) / len(choice),
                    " ".join(text.strip() for text, _ in choice if text),
                )
                for choice in itertools.product(*each)
            ),
            reverse=True,
        )
        scores = [float(score) for _, _, score in lines[:3]]
        expected = [score for score, _ in combined[:3]]
        np.testing.assert_allclose(scores, expected, atol=2e-4)  # rounded
        assert {text for _, text, _ in lines[:3]} <= {t for _, t in combined}

    def test_draws_of_a_split_line_are_not_sorted_but_joined(self, folder):
        changes = ["sampling=True", "sampling_seed=4"]
        options = {"changes": changes, "long_lines": "split", "n_best": 2}
        translate = self.translator(folder, [], **options)
        lines = [line.split(" ||| ") for line in translate([self.LONG])]
        parts = parts_of(self.LONG, lambda part: self.size(folder, part) <= 12)
        again = self.translator(folder, [], **options)
        drawn = [line.split(" ||| ")[1].strip() for line in again(parts)]
        for number, (_, text, _) in enumerate(lines):
            assert text == " ".join(filter(None, drawn[number::2]))

    def test_split_goes_without_alignments(self, folder):
        with pytest.raises(ValueError, match="no alignment in common"):
            LineTranslator(folder, long_lines="split", alignments="hard")
        with pytest.raises(ValueError, match="cut, split, refuse"):
            LineTranslator(folder, long_lines="drop")

    def test_long_side_of_a_scored_pair_is_named(self, folder):
        said = []
        score = PairScorer(folder, max_source_length=12, warn=said.append)
        score([("oh", "oh")])
        score([("oh", "oh"), (self.LONG, "oh"), ("oh", self.LONG * 9)])
        assert [line.split(" has ")[0] for line in said] == [
            "Pair 3: the source",
            "Pair 4: the translation",
        ]

    def test_warnings_go_to_standard_error(self, folder, capsys):
        LineTranslator(folder, max_source_length=12)([self.LONG])
        out, error = capsys.readouterr()
        assert out == "" and error.startswith("Line 1 has ")
