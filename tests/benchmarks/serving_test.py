"""The benchmark of a served translator, on servers that are good and bad."""

import importlib
import itertools
import pathlib
import sys

import numpy as np
import pytest
import table_model
import tensorflow as tf

FOLDER = pathlib.Path(table_model.__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def program():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module("serving")
    for name in (
        *("serving", "serving_scenarios", "http_load", "odd_strings"),
        "target_languages",
    ):
        del sys.modules[name]


def say_length(inputs):
    """Translates into the number of bytes; every string has a result."""
    length = tf.strings.length(inputs)
    blank = tf.equal(tf.strings.strip(inputs), "")
    return {
        "outputs": tf.where(blank, "", tf.strings.as_string(length)),
        "scores": tf.where(blank, 0.0, -tf.cast(length, tf.float32)),
    }


class TestOddStrings:
    def test_they_are_of_all_kinds_and_the_same_each_time(self, program):
        strings = program.odd_strings(2000)
        assert strings == program.odd_strings(2000)
        assert b"" in strings
        assert any(x and not x.strip() for x in strings)
        assert any(len(x.decode("utf-8", "ignore")) == 10_000 for x in strings)
        assert any("😀" <= c <= "🙏" for x in strings for c in _text(x))
        assert any("\x00" <= c <= "\x08" for x in strings for c in _text(x))
        broken = [x for x in strings if _text(x) == ""]
        assert len(broken) > 100


def _text(string):
    try:
        return string.decode()
    except UnicodeDecodeError:
        return ""


class TestSending:
    def test_a_good_server_has_no_failures(self, program):
        strings = program.odd_strings(300)
        results, failures = program.send_odd(say_length, strings)
        assert len(results) == 300 and not failures
        assert program.send_alone(say_length, strings, results, 50) == (0, 0)

    @pytest.mark.parametrize(
        "spoil, reason",
        [
            (lambda x: {**x, "scores": x["scores"] * np.nan}, "no score"),
            (
                lambda x: {**x, "outputs": x["outputs"] + b"\xff"},
                "output that is not UTF-8",
            ),
            (
                lambda x: {**x, "scores": x["scores"] - 1.0},
                "a blank string has a translation",
            ),
        ],
    )
    def test_results_that_are_not_as_promised_are_counted(
        self, program, spoil, reason
    ):
        strings = [b"a dog", b" ", b"two dogs"]
        _, failures = program.send_odd(
            lambda inputs: spoil(say_length(inputs)), strings
        )
        assert failures[reason] >= 1

    def test_an_exception_is_a_failure_and_not_the_end(self, program):
        def fail(inputs):
            raise tf.errors.InvalidArgumentError(None, None, "no such row")

        results, failures = program.send_odd(fail, [b"a dog"])
        assert results == [None]
        assert failures == {"InvalidArgumentError: no such row": 1}

    def test_a_result_that_depends_on_the_batch_is_told(self, program):
        def crowded(inputs):
            found = say_length(inputs)
            size = tf.cast(tf.size(inputs), tf.float32)
            return {**found, "scores": found["scores"] - size}

        results = [(b"5", -25.0)]
        other = program.send_alone(crowded, [b"a dog"], results, 1)
        assert other == (0, 1)

    @pytest.mark.parametrize(
        "failures, texts, is_bad", [(0, 0, False), (1, 0, True), (0, 1, True)]
    )
    def test_texts_that_differ_alone_fail_like_failures(
        self, program, failures, texts, is_bad
    ):
        figures = {"failures": failures, "other_texts": texts}
        assert program.is_bad({**figures, "other_scores": 3}) == is_bad


class TestLanguages:
    """A model of two languages, which puts the language in front."""

    LANGUAGES = ["fr", "de"]

    @staticmethod
    def translate(inputs, target_language):
        is_known = tf.reduce_any(
            target_language[:, None] == tf.constant(["fr", "de"]), axis=1
        )
        found = say_length(inputs)
        blank = found["outputs"] == ""
        outputs = target_language + found["outputs"]
        return {
            "outputs": tf.where(is_known & ~blank, outputs, ""),
            "scores": tf.where(is_known, found["scores"], tf.float32.min),
        }

    def test_each_text_has_a_language_of_its_own(self, program):
        translate = program.asking(self.translate, self.LANGUAGES)
        texts = [f"text {n}".encode() for n in range(40)]
        together = translate(inputs=tf.constant(texts))["outputs"].numpy()
        assert {text[:2] for text in together} == {b"fr", b"de"}
        for text, expected in zip(texts, together, strict=True):
            alone = translate(inputs=tf.constant([text]))["outputs"].numpy()
            assert alone == [expected]

    @pytest.mark.parametrize("knows", [True, False])
    def test_unknown_languages_have_to_give_nothing(self, program, knows):
        function = self.translate
        if not knows:
            function = lambda inputs, target_language: say_length(inputs)  # noqa: E731
        translate = program.asking(
            function, self.LANGUAGES, program.odd_language_for
        )
        strings = program.odd_strings(300)
        results, failures = program.send_odd(
            translate, strings, is_unknown=program.is_odd
        )
        assert 5 < sum(map(program.is_odd, strings)) < 50
        told = failures["a result in an unknown language"]
        assert (told == 0) == knows and failures.total() == told
        assert program.send_alone(translate, strings, results, 50) == (0, 0)

    def test_they_are_those_of_the_card(self, program, tmp_path):
        specs = [
            tf.TensorSpec([None], tf.string, name)
            for name in ("inputs", "target_language")
        ]
        function = tf.function(self.translate, input_signature=specs)
        tf.saved_model.save(
            tf.Module(),
            str(tmp_path / "1"),
            signatures={"serving_default": function},
        )
        signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
        (tmp_path / "1/assets.extra").mkdir()
        card = tmp_path / "1/assets.extra/card.json"
        card.write_text('{"target_languages": ["fr", "de"]}')
        found = program.languages_of(tmp_path / "1", signatures)
        assert found == self.LANGUAGES


class TestOtherSignatures:
    """Servers that answer with as many rows as there are strings."""

    STRINGS = [b"a dog", b"", b"\xff"] * 6  # more than one batch

    def signatures(self, **spoilt):
        def several(inputs, **_):
            found = say_length(inputs)
            return {name: tensor[:, None] for name, tensor in found.items()}

        def ids(inputs):
            return {"ids": tf.ones([tf.size(inputs), 3], tf.int32)}

        return {
            "translate_nbest": several,
            "translate_with_options": several,
            "score": lambda sources, targets: {
                "scores": tf.zeros(len(sources))
            },
            "tokenize": ids,
            "detokenize": lambda ids: {"outputs": tf.fill([len(ids)], "x")},
            **spoilt,
        }

    def test_good_ones_have_no_failures(self, program):
        assert not program.send_to_others(self.signatures(), self.STRINGS)

    @pytest.mark.parametrize(
        "name, output, reason",
        [
            ("score", tf.fill([16], np.nan), "not finite"),
            ("score", tf.zeros(3), "not a row for each string"),
            ("detokenize", tf.fill([16], b"\xff"), "not UTF-8"),
        ],
    )
    def test_each_kind_of_failure_is_told(self, program, name, output, reason):
        spoilt = self.signatures(**{name: lambda **_: {"outputs": output}})
        failures = program.send_to_others(spoilt, self.STRINGS)
        assert any(reason in failure for failure in failures)

    def test_an_exception_is_told_with_its_signature(self, program):
        def fail(**_):
            raise tf.errors.InvalidArgumentError(None, None, "no such row")

        spoilt = self.signatures(translate_nbest=fail)
        failures = program.send_to_others(spoilt, self.STRINGS)
        assert failures == {
            "translate_nbest: InvalidArgumentError: no such row": 2
        }


class TestLoad:
    def test_figures_worked_by_hand(self, program, monkeypatch):
        # A clock that is one second on whenever it is looked at: at the
        # start, and before and after each request.
        clock = itertools.count()
        monkeypatch.setattr(program.time, "perf_counter", lambda: next(clock))
        used = iter([3.0, 3.4])
        monkeypatch.setattr(program.time, "process_time", lambda: next(used))
        found = program.load(say_length, ["a", "bc"], 8, seconds=10)
        assert found.pop("cpu_ms_per_sentence") == pytest.approx(400 / 40)
        assert found == {
            "batch_size": 8,
            "requests": 5,  # begun at 1, 3, 5, 7 and 9
            "sentences_per_second": 8.0,
            "p50_ms": 1000.0,
            "p99_ms": 1000.0,
        }
