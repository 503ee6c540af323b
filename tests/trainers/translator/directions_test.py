"""A model of several directions: its evaluation, its study, its vocabulary."""

import dataclasses

import numpy as np
import pytest
import sacrebleu
from model_folders import make_folder
from small_runs import SMALL, train

from trainers.translator import task as translation_task
from trainers.translator.corpora import more_references
from trainers.translator.evaluation import DevEvaluation
from trainers.translator.expert_study import route_corpus, study_experts
from trainers.translator.folder import ModelFolder
from translation.text.corpora.multilingual import open_directions
from translation.text.directions import parse_directions
from translation.text.input_pipeline import evaluation_batches
from translation.text.text_files import CorpusError

EN_FR = [("one dog", "un chien"), ("two dogs", "deux chiens"), ("oh", "oh")]
EN_JA = [("one cat sees the dog", "猫が犬を見る"), ("a dog", "犬")]
PAIR = "en-fr,ja:both"
SENTENCES = [text for pair in (*EN_FR, *EN_JA) for text in pair]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with random weights, and its corpora beside it."""
    path = tmp_path_factory.mktemp("directions")
    for tags, pairs in ((("en", "fr"), EN_FR), (("en", "ja"), EN_JA)):
        for tag, side in zip(tags, zip(*pairs, strict=True), strict=True):
            file = path / f"test.{'-'.join(tags)}.{tag}"
            file.write_text("".join(f"{line}\n" for line in side), "utf-8")
    names = dict.fromkeys(("train", "dev", "test"), str(path / "test.{pair}"))
    return make_folder(
        path / "model", pair=PAIR, sentences=SENTENCES * 3, **names
    )


@pytest.fixture(scope="module")
def loaded(folder):
    config = folder.load_config()
    return config, *folder.load_model(config)


@pytest.fixture(scope="module")
def results(folder):
    return translation_task.evaluate(folder.path, log=lambda line: None)


def evaluation(loaded, pair, **changes):
    config, model, tokenizer = loaded
    config = dataclasses.replace(config, pair=pair, **changes)
    corpus = open_directions(config.dev, pair, "dev", is_marked=True)
    return DevEvaluation(config, model, tokenizer, corpus)


def test_a_direction_has_the_perplexity_that_it_has_alone(loaded):
    figures = evaluation(loaded, PAIR, dev_sentences=0)()
    alone = evaluation(loaded, "ja-en", dev_sentences=0)()
    assert figures["perplexity/ja-en"] == pytest.approx(
        alone["perplexity"], rel=1e-5
    )


def test_perplexity_of_all_is_that_of_all_tokens(loaded):
    _, _, tokenizer = loaded
    figures = evaluation(loaded, PAIR, dev_sentences=0)()
    nats = tokens = 0.0
    for direction in parse_directions(PAIR):
        pairs = EN_JA if "ja" in direction else EN_FR
        targets = [pair[direction.source == "en"] for pair in pairs]
        count = sum(len(ids) + 1 for ids in tokenizer.encode(targets))
        nats += count * np.log(figures[f"perplexity/{direction}"])
        tokens += count
    assert figures["perplexity"] == pytest.approx(
        np.exp(nats / tokens), rel=1e-5
    )


def test_the_field_makes_one_score_of_those_of_directions(loaded):
    dev_mean = "en-fr=1,fr-en=2,en-ja=3,ja-en=4"
    evaluate = evaluation(
        loaded, PAIR, dev_score="chrf", dev_search="greedy", dev_mean=dev_mean
    )
    figures = evaluate()
    of_each = [
        figures[f"chrf/{direction}"] for direction in parse_directions(PAIR)
    ]
    # Weights 1 to 4, in the order of the directions.
    assert figures["score"] == pytest.approx(
        np.average(of_each, weights=[1, 2, 3, 4])
    )
    assert figures["chrf"] == pytest.approx(np.mean(of_each))
    about = evaluate.about_score()
    assert "(the weighted mean of 4 directions) of 10 sentences" in about


def test_scores_are_those_of_the_files_of_each_direction(folder, results):
    assert {*results["directions"]} == {"en-fr", "fr-en", "en-ja", "ja-en"}
    for direction, figures in results["directions"].items():
        texts = {
            ending: (folder.path / f"test.{direction}.{ending}")
            .read_text("utf-8")
            .splitlines()
            for ending in ("src", "hyp", "ref")
        }
        tokenizer = "ja-mecab" if direction == "en-ja" else "13a"
        bleu = sacrebleu.corpus_bleu(
            texts["hyp"], [texts["ref"]], tokenize=tokenizer, force=True
        )
        assert figures["bleu"] == bleu.score
        assert f"tok:{tokenizer}" in figures["signature"]
        pairs = EN_JA if "ja" in direction else EN_FR
        assert texts["src"] == [x[direction[:2] != "en"] for x in pairs]
        assert figures["pairs"] == len(pairs)
    bleus = [x["bleu"] for x in results["directions"].values()]
    assert results["bleu"] == pytest.approx(np.mean(bleus))


def test_references_of_directions_have_the_pair_in_their_names(folder):
    config = folder.load_config()
    corpus = open_directions(config.test, PAIR, "test")
    for direction, part in corpus.by_direction():
        lines = [f"{target}!" for _, target in part.pairs()]
        path = folder.path / f"more.{direction}"
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    more = more_references(str(folder.path / "more.{pair}"), corpus, PAIR)
    assert more["fr-en"] == [["one dog!", "two dogs!", "oh!"]]
    with pytest.raises(CorpusError, match="files with {pair} in their names"):
        more_references(str(folder.path / "more.en-fr"), corpus, PAIR)


def test_the_study_of_experts_knows_the_languages(folder, loaded):
    config, model, tokenizer = loaded
    directions = parse_directions(PAIR)
    corpus = open_directions(config.test, PAIR, "test")
    batches = evaluation_batches(corpus, tokenizer, config.batches)
    routed = route_corpus(model, tokenizer, batches, directions=directions)
    for tokens in routed.values():
        names = {
            name: [column.names[i] for i in column.ids()]
            for name, column in tokens.of_sentences.items()
        }
        pairs = zip(
            names["source language"], names["target language"], strict=True
        )
        assert sorted(pairs) == sorted(
            tuple(direction)
            for direction in directions
            for _ in (EN_JA if "ja" in direction else EN_FR)
        )
    lines = []
    study_experts(folder.path, log=lines.append)
    text = (folder.path / "experts.md").read_text("utf-8")
    assert "source language" in text and "target language, token known" in text
    assert any("is the target language" in line for line in lines)


def test_training_makes_tokens_and_resumes(folder, tmp_path):
    names = {x: str(folder.path.parent / "test.{pair}") for x in ("train",)}
    config = dataclasses.replace(
        SMALL, pair=PAIR, dev=names["train"], test=names["train"], **names
    )
    loop = train(config, tmp_path / "run", scores=[1.0])
    assert int(loop.step) == 2
    run = ModelFolder(tmp_path / "run")
    tokenizer = run.load_tokenizer()
    assert [*tokenizer.targets] == ["fr", "en", "ja"]
    # The token of each target is a row of the table of subwords.
    assert loop.model.config.vocab_size == tokenizer.vocab_size
    more = dataclasses.replace(
        config, loop=dataclasses.replace(config.loop, steps=4)
    )
    assert int(train(more, run.path, scores=[2.0]).step) == 4
    other = dataclasses.replace(more, mixing="equal")
    with pytest.raises(ValueError, match="mixing"):
        train(other, run.path, scores=[3.0])
