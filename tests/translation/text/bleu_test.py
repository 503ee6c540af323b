"""BLEU is sacreBLEU's, on detokenised text."""

import math

import pytest
import sacrebleu

from translation.text.bleu import (
    TOKENIZERS,
    choose_tokenizer,
    corpus_bleu,
    corpus_chrf,
)

HYPOTHESES = ["The cat sat on the mat.", "A dog runs over Green grass !"]
REFERENCES = ["The cat sat on a mat.", "A dog runs over green grass!"]


class TestCorpusBleu:
    def test_perfect_translations_score_100(self):
        bleu = corpus_bleu(REFERENCES, REFERENCES)
        assert math.isclose(bleu.score, 100)
        assert bleu.brevity_penalty == 1

    def test_value_worked_by_hand(self):
        # Words "a b c d e" against "a b c d f": 4 of 5 words match, 3 of 4
        # pairs, 2 of 3 triples, 1 of 2 quadruples: the geometric mean of
        # 4/5, 3/4, 2/3, 1/2 is the fourth root of 1/5.
        bleu = corpus_bleu(["a b c d e"], ["a b c d f"])
        assert math.isclose(bleu.score, 100 * 0.2**0.25)
        assert bleu.precisions == pytest.approx((80, 75, 200 / 3, 50))
        assert (bleu.hypothesis_length, bleu.reference_length) == (5, 5)

    def test_short_translations_are_penalised(self):
        # 4 words for 5: exp(1 - 5/4).
        bleu = corpus_bleu(["a b c d"], ["a b c d e"])
        assert math.isclose(bleu.brevity_penalty, math.exp(-0.25))

    @pytest.mark.parametrize("lowercase", [False, True])
    def test_equals_sacrebleu(self, lowercase):
        expected = sacrebleu.corpus_bleu(
            HYPOTHESES, [REFERENCES], lowercase=lowercase
        )
        bleu = corpus_bleu(HYPOTHESES, REFERENCES, lowercase)
        assert bleu.score == expected.score

    def test_case_matters_unless_lowercased(self):
        cased = corpus_bleu(HYPOTHESES, REFERENCES)
        uncased = corpus_bleu(HYPOTHESES, REFERENCES, lowercase=True)
        assert cased.score < uncased.score

    def test_signature_tells_case_tokenisation_and_version(self):
        cased = corpus_bleu(HYPOTHESES, REFERENCES).signature
        uncased = corpus_bleu(HYPOTHESES, REFERENCES, lowercase=True).signature
        version = sacrebleu.__version__
        for case, signature in (("mixed", cased), ("lc", uncased)):
            assert signature == (
                f"nrefs:1|case:{case}|eff:no|tok:13a|smooth:exp"
                f"|version:{version}"
            )

    def test_str_has_score_and_signature(self):
        bleu = corpus_bleu(HYPOTHESES, REFERENCES)
        assert str(bleu) == f"BLEU {bleu.score:.2f} ({bleu.signature})"

    def test_empty_translations_are_fine(self):
        assert corpus_bleu(["", ""], REFERENCES).score == 0

    def test_unequal_lengths_are_an_error(self):
        with pytest.raises(ValueError, match="Received: 1 and 2"):
            corpus_bleu(HYPOTHESES[:1], REFERENCES)
        with pytest.raises(ValueError, match="at least one"):
            corpus_bleu([], [])

    def test_text_that_looks_tokenised_brings_no_warning(self, caplog):
        corpus_bleu(["a dog ."] * 200, ["a dog."] * 200)
        assert not caplog.records


CHINESE = ["今天红猫看见大狗。", "明天老虎喜欢小鸟。"]
NEARLY = ["今天红猫看见小狗。", "明天老虎喜欢小鸟。"]


class TestTokenizers:
    def test_chinese_is_measured_by_characters(self):
        # 13a sees one word a sentence, and no four in a row.
        assert corpus_bleu(NEARLY, CHINESE).score == 0
        tokenizer, note = choose_tokenizer("zh")
        expected = sacrebleu.corpus_bleu(NEARLY, [CHINESE], tokenize="zh")
        bleu = corpus_bleu(NEARLY, CHINESE, tokenizer=tokenizer)
        assert 50 < bleu.score == expected.score
        assert "tok:zh|" in bleu.signature and not note

    @pytest.mark.parametrize("language", ["ja", "ko", "zh", "fr", "th"])
    def test_languages_have_the_tokenizer_of_sacrebleu(self, language):
        tokenizer, note = choose_tokenizer(language)
        sentences = ["a b c d e", "私は猫が好きです。"]
        bleu = corpus_bleu(sentences, sentences, tokenizer=tokenizer)
        metric = sacrebleu.metrics.BLEU(trg_lang=language)
        metric.corpus_score(sentences, [sentences])
        assert bleu.signature == metric.get_signature().format()
        assert note == ""

    @pytest.mark.parametrize("language", ["ja", "ko"])
    def test_characters_stand_in_for_a_missing_package(
        self, language, monkeypatch
    ):
        _without_packages(monkeypatch)
        tokenizer, note = choose_tokenizer(language)
        assert tokenizer == "char"
        assert f"pip install 'moe-keras[{language}]'" in note

    def test_what_was_asked_for_is_had_or_refused(self, monkeypatch):
        assert choose_tokenizer("zh", "char") == ("char", "")
        with pytest.raises(ValueError, match="must be one of auto, 13a"):
            choose_tokenizer("fr", "14b")
        _without_packages(monkeypatch)
        with pytest.raises(ValueError, match="bleu_tokenizer=ja-mecab: no pac"):
            choose_tokenizer("fr", "ja-mecab")

    def test_all_tokenizers_are_known(self):
        known = {*sacrebleu.metrics.BLEU.TOKENIZERS}
        assert {*TOKENIZERS} == known | {"auto"}


def _without_packages(monkeypatch):
    class Lacking(sacrebleu.metrics.BLEU):
        def __init__(self, tokenize=None, **kwargs):
            if "mecab" in tokenize:
                raise RuntimeError("\nno package\n")
            super().__init__(tokenize=tokenize, **kwargs)

    monkeypatch.setattr("translation.text.bleu.BLEU", Lacking)


class TestReferences:
    def test_the_nearest_of_several_references_counts(self):
        others = [HYPOTHESES[0], "Nothing like it."]
        bleu = corpus_bleu(HYPOTHESES, [REFERENCES, others])
        expected = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES, others])
        assert bleu.score == expected.score
        assert bleu.score > corpus_bleu(HYPOTHESES, REFERENCES).score
        assert bleu.signature.startswith("nrefs:2|")

    def test_references_of_other_lengths_are_an_error(self):
        with pytest.raises(ValueError, match="Received: 2 and 2, 1"):
            corpus_bleu(HYPOTHESES, [REFERENCES, REFERENCES[:1]])
        with pytest.raises(ValueError, match="Received: 2 and 1"):
            corpus_chrf(HYPOTHESES, REFERENCES[:1])


class TestCorpusChrf:
    def test_value_worked_by_hand(self):
        # "ab" against "abcd". Of the n-grams up to 2, the longest that both
        # sides have, precision is 1; recall is 2/4 and 1/3, 5/12 on average.
        # F2 = 5 * P * R / (4 * P + R) = (25/12) / (4 + 5/12) = 25/53.
        chrf = corpus_chrf(["ab"], ["abcd"])
        assert math.isclose(chrf.score, 100 * 25 / 53)

    @pytest.mark.parametrize("references", [[REFERENCES], [REFERENCES] * 2])
    def test_equals_sacrebleu(self, references):
        expected = sacrebleu.corpus_chrf(HYPOTHESES, references)
        chrf = corpus_chrf(HYPOTHESES, references)
        assert chrf.score == expected.score
        assert chrf.signature.startswith(f"nrefs:{len(references)}|")
