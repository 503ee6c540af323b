"""Scores of a model on a corpus, and the files that they are made of."""

import dataclasses

import pytest
import sacrebleu
from model_folders import make_folder
from small_runs import PAIRS, write_corpora

from trainers.translator import evaluation
from trainers.translator import task as translation_task
from trainers.translator.evaluation import DevEvaluation, TranslationScores
from trainers.translator.fields import score_identity
from trainers.translator.folder import ModelFolder
from trainers.translator.presets import NmtConfig
from trainers.translator.text_modes import LineTranslator
from translation.search.translate import Translation
from translation.text.corpora.corpus import open_corpus
from translation.text.text_files import CorpusError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder beside the corpus that it is to be measured on."""
    path = tmp_path_factory.mktemp("evaluation")
    write_corpora(path)
    (path / "more.fr").write_text("un chien\nchiens\nle chat\nchats\n")
    names = {split: str(path / split) for split in ("train", "dev", "test")}
    references = str(path / "more.fr")
    return make_folder(path / "model", references=references, **names)


@pytest.fixture(scope="module")
def results(folder):
    lines = []
    found = translation_task.evaluate(folder.path, log=lines.append)
    return found, lines


def lines_of(path):
    return path.read_text().splitlines()


def test_test_set_and_its_translations_are_in_files(folder, results):
    sources, firsts = map(list, zip(*PAIRS, strict=True))
    hypotheses = lines_of(folder.path / "test.hyp")
    assert hypotheses == LineTranslator(folder.path)(sources)
    assert lines_of(folder.path / "test.src") == sources
    assert lines_of(folder.path / "test.ref") == firsts
    more = lines_of(folder.path / "test.ref1")
    assert more == ["un chien", "chiens", "le chat", "chats"]
    assert not list(folder.path.glob("*.new"))
    assert any("test.hyp" in line for line in results[1])


def test_scores_are_those_of_the_files(folder, results):
    found, _ = results
    hypotheses = lines_of(folder.path / "test.hyp")
    references = [lines_of(folder.path / f"test.{r}") for r in ("ref", "ref1")]
    for name, score in (
        ("bleu", sacrebleu.corpus_bleu(hypotheses, references, force=True)),
        ("chrf", sacrebleu.corpus_chrf(hypotheses, references)),
    ):
        assert found[name] == score.score
    assert found["signature"].startswith("nrefs:2|")
    assert found["signature_chrf"].startswith("nrefs:2|")


@pytest.mark.usefixtures("results")
def test_another_test_set_has_files_of_its_own(folder, tmp_path):
    (tmp_path / "x.tsv").write_text("one dog\tun chien\n")
    before = (folder.path / "test.hyp").read_bytes()
    found = translation_task.evaluate(
        folder.path, str(tmp_path / "x.tsv"), log=lambda line: None
    )
    assert found["signature"].startswith("nrefs:1|")
    assert (folder.path / "test.hyp").read_bytes() == before
    assert lines_of(folder.path / "evaluated.src") == ["one dog"]


def test_references_must_be_as_many(folder, tmp_path):
    (tmp_path / "short").write_text("un chien\n")
    with pytest.raises(CorpusError, match="a line for each of the 4 .* has 1"):
        translation_task.evaluate(
            folder.path, references=str(tmp_path / "short"), log=print
        )


def test_ends_of_lines_within_a_sentence_are_spaces(tmp_path):
    folder = ModelFolder(tmp_path)
    [path] = folder.save_texts("x", {"hyp": ["a\nb\r\nc", "\u2028d"]})
    assert path.read_bytes() == "a b c\n\u2028d\n".encode()


class TestDevEvaluation:
    @pytest.fixture
    def evaluate(self, folder, monkeypatch):
        """Figures on the dev set of what always translates in one way."""

        class Constant:
            def __init__(self, *arguments):
                pass

            def __call__(self, texts, on_progress=None):
                return [Translation("un chien", 0.0) for _ in texts]

        config = folder.load_config()
        model, tokenizer = folder.load_model(config)
        corpus = open_corpus(config.dev, config.pair, "dev")
        monkeypatch.setattr(evaluation, "TextTranslator", Constant)

        def evaluated(**changes):
            changed = dataclasses.replace(config, **changes)
            dev = DevEvaluation(changed, model, tokenizer, corpus)
            return dev(), dev.about_score()

        return evaluated

    def test_bleu_and_chrf_are_told_and_the_field_chooses(self, evaluate):
        references = [target for _, target in PAIRS]
        hypotheses = ["un chien"] * 4
        chrf = sacrebleu.corpus_chrf(hypotheses, [references]).score
        figures, about = evaluate()
        assert figures["score"] == figures["bleu"]
        assert figures["chrf"] == chrf
        assert "is BLEU of 4 sentences, nrefs:1|case:mixed|eff:no" in about
        figures, about = evaluate(dev_score="chrf")
        assert figures["score"] == chrf
        assert "is chrF of 4 sentences, nrefs:1|" in about and "nc:6" in about
        figures, about = evaluate(dev_score="perplexity")
        assert figures["score"] == -figures["perplexity"]
        assert figures["chrf"] == chrf
        assert about.endswith("minus the perplexity.")

    def test_no_sentences_leave_the_perplexity(self, evaluate):
        figures, _ = evaluate(dev_sentences=0)
        assert {*figures} == {"score", "perplexity"}
        with pytest.raises(ValueError, match="`dev_sentences` must be at le"):
            evaluate(dev_sentences=0, dev_score="chrf")


class TestTranslationScores:
    def test_target_language_chooses_the_tokenizer(self):
        for pair, tokenizer in (
            ("en-zh", "zh"),
            ("en-zh_Hant", "zh"),
            ("zh-en", "13a"),
            ("en-ja", "ja-mecab"),
        ):
            found = TranslationScores(NmtConfig(pair=pair))(["a"], [["a"]])
            assert f"|tok:{tokenizer}" in found["signature"]

    def test_scores_of_another_tokenizer_are_not_compared(self):
        config = NmtConfig(pair="en-zh")
        chars = dataclasses.replace(config, bleu_tokenizer="char")
        assert score_identity(config, "")["bleu_tokenizer"] == "zh"
        assert score_identity(chars, "")["bleu_tokenizer"] == "char"
