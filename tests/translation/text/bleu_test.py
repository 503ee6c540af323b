"""BLEU is sacreBLEU's, on detokenised text."""

import math

import pytest
import sacrebleu

from translation.text.bleu import corpus_bleu

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
