"""What there is to do with a translator: train, evaluate, translate, export.

Every function takes a configuration or a model folder; flags are the business
of `trainers.nmt` alone.
"""

import dataclasses
import functools
import math
import time

import tensorflow as tf

from moe_keras import monitoring
from trainers import report
from trainers.checkpoint_average import average_checkpoints
from trainers.loop import Loop, seed_everything
from trainers.losses import masked_sum, smoothed_cross_entropy
from trainers.model_folder import (
    ModelFolder,
    build_model,
    identity,
    measure,
)
from trainers.progress import TranslationProgress
from trainers.serving import export_model
from trainers.task import Task
from translation.bleu import corpus_bleu
from translation.corpus import open_corpus
from translation.export import load_translator
from translation.input_pipeline import evaluation_batches, training_batches
from translation.special_ids import PAD_ID
from translation.tokenizer import Tokenizer, train_tokenizer
from translation.translate import TextTranslator, translate_texts

EXAMPLES = 5  # translations shown at the end


def train_and_evaluate(config, model_dir, log=print):
    """Trains a translator, or goes on with one, and leaves it ready to serve.

    Args:
        config: `trainers.presets.NmtConfig`.
        model_dir: str or path. A folder of an earlier run of the same model is
            resumed; a finished one is only reported.
        log: Function of one line of text.

    Returns:
        dict of the figures in `results.json`.

    Raises:
        CorpusError, FolderError, TokenizerError: one line each, before
            training starts.
        CheckpointError: if a checkpoint cannot be used or written.
        TrainingError: if the loss stays other than a finite number.
        Interrupted: after SIGTERM or Ctrl-C; all is saved.
    """
    folder = ModelFolder(model_dir)
    names = dict.fromkeys([config.train, config.dev, config.test])
    log(f"Reading {', '.join(names)} ...")
    train, dev, test = (
        open_corpus(getattr(config, split), config.pair, split)
        for split in ("train", "dev", "test")
    )
    for corpus in (train, dev, test):
        corpus.check()
    with folder.lock():
        return _train_and_evaluate(config, folder, train, dev, test, log)


def evaluate(model_dir, test=None, changes=(), log=print):
    """Perplexity, BLEU and routing of a trained model on a test set.

    Args:
        model_dir: str or path of a folder with a trained model.
        test: str or None. A corpus; None takes that of the configuration.
        changes: List of `"field=value"`, for the fields of the search.
        log: Function of one line of text.

    Returns:
        dict of figures.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config(changes)
    corpus = open_corpus(test or config.test, config.pair, "test")
    corpus.check()
    model, tokenizer = folder.load_model(config)
    results = _final_figures(config, model, tokenizer, corpus, log)
    report.show_results(results, log)
    return results


def translate(model_dir, sentences, changes=()):
    """Translates sentences with a trained model.

    Args:
        model_dir: str or path of a folder with a trained model.
        sentences: List of str.
        changes: List of `"field=value"`, for the fields of the search.

    Returns:
        List of str.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config(changes)
    model, tokenizer = folder.load_model(config)
    translations = translate_texts(model, tokenizer, sentences, config.search)
    return [text for text, _ in translations]


def average(model_dir, which="best", log=print):
    """Averages the weights of several checkpoints of a run.

    Args:
        model_dir: str or path of a folder with a trained model.
        which: str. `best` or `last`, for all that were kept, or with a number
            of them, as `last:5`.
        log: Function of one line of text.

    Returns:
        Path of the model folder that has the mean, to be evaluated and
        exported like any other.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config()
    with folder.lock():
        model = build_model(config)
        used = average_checkpoints(folder.path, model, which)
        averaged = folder.save_average(config, model, used)
    names = ", ".join(str(s.path.relative_to(folder.path)) for s in used)
    log(f"The mean of {names} is in {averaged.path}.")
    return averaged.path


def export(model_dir, changes=(), precision="float32"):
    """Writes a new version of the SavedModel.

    Args:
        model_dir: str or path of a folder with a trained model.
        changes: List of `"field=value"`, for the fields of the search.
        precision: str. `float32` or `bfloat16`, of weights and products.

    Returns:
        Path of the version's folder.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config(changes)
    results = folder.load_results(folder.load_config())
    model, tokenizer = folder.load_model(config)
    return export_model(config, folder, model, tokenizer, results, precision)


def _train_and_evaluate(config, folder, train, dev, test, log):
    seed_everything(config.loop.seed)
    tokenizer = _tokenizer(config, folder, train, log)
    config = _with_vocabulary(config, tokenizer)
    folder.check_same(config)
    results = folder.load_results(config)
    if results:
        log(f"{folder.path} is done: {results['steps']} steps.")
        report.show_results(results, log)
        report.show_next_commands(folder, log)
        return results
    model = build_model(config)
    folder.save_config(config)
    report.show_config(config, log)
    loop = _train(config, folder, model, tokenizer, train, dev, log)
    model, tokenizer = folder.load_model(config)
    results = _final_figures(config, model, tokenizer, test, log)
    results["steps"] = int(loop.step)
    results["training_minutes"] = float(loop.seconds) / 60
    report.show_results(results, log)
    _export_and_check(config, folder, model, tokenizer, results, log)
    results["config"] = dataclasses.asdict(config)
    folder.save_results(results)
    report.show_next_commands(folder, log)
    return results


def _tokenizer(config, folder, corpus, log):
    if folder.tokenizer_path.exists():
        return Tokenizer.load(folder.tokenizer_path)
    log(f"Training a vocabulary of {config.model.vocab_size} subwords ...")
    tokenizer = train_tokenizer(
        corpus.sentences(), config.model.vocab_size, config.vocabulary_type
    )
    folder.save_tokenizer(tokenizer)
    return tokenizer


def _with_vocabulary(config, tokenizer):
    """A small corpus may bear fewer subwords than asked for."""
    model = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    return dataclasses.replace(config, model=model)


def _train(config, folder, model, tokenizer, train, dev, log):
    def texts(batch):
        return {
            "sources": tokenizer.decode(batch["source"].numpy().tolist()),
            "targets": tokenizer.decode(batch["target_out"].numpy().tolist()),
        }

    task = Task(
        model,
        functools.partial(training_loss, smoothing=config.label_smoothing),
        training_batches(train, tokenizer, config.batches),
        DevEvaluation(config, model, tokenizer, dev),
        static_shapes=config.batches.static_shapes,
        thresholds=config.verdicts,
        identity=identity(config),
        measure=measure(config),
        texts=texts,
    )
    loop = Loop(task, config.loop, folder.path, log)
    loop.resume()
    loop.run()
    return loop


def training_loss(model, batch, smoothing):
    """Smoothed cross entropy summed over a batch, and its tokens."""
    logits = model(batch, training=True)
    targets = batch["target_out"]
    loss = smoothed_cross_entropy(targets, logits, smoothing)
    return masked_sum(loss, tf.not_equal(targets, PAD_ID))


class DevEvaluation:
    """Perplexity and BLEU of a model on a corpus, for the loop to call.

    Args:
        config: `NmtConfig`.
        model: `Translator`.
        tokenizer: `Tokenizer`.
        corpus: Parallel corpus.
    """

    def __init__(self, config, model, tokenizer, corpus):
        self._model = model
        self._translate = TextTranslator(model, tokenizer, config.search)
        self._batches = evaluation_batches(corpus, tokenizer, config.batches)
        self._pairs = list(_first(corpus.pairs(), config.dev_sentences))
        self._loss = tf.function(self._loss_eagerly, reduce_retracing=True)

    def __call__(self, check=lambda: None):
        """Evaluates the model as it is.

        Args:
            check: Function that is called after each batch; it may raise.

        Returns:
            dict of floats.
        """
        total = tokens = 0.0
        for batch in self._batches:
            check()
            loss, count = self._loss(batch)
            total, tokens = total + float(loss), tokens + float(count)
        perplexity = math.exp(min(total / max(tokens, 1.0), 50.0))
        metrics = {"score": -perplexity, "perplexity": perplexity}
        if self._pairs:
            sources, references = zip(*self._pairs, strict=True)
            translations = self._translate(sources, lambda *_: check())
            hypotheses = [text for text, _ in translations]
            bleu = corpus_bleu(hypotheses, references)
            metrics |= {"score": bleu.score, "bleu": bleu.score}
        return metrics

    def _loss_eagerly(self, batch):
        logits = self._model(batch, training=False)
        targets = batch["target_out"]
        loss = smoothed_cross_entropy(targets, logits)
        return masked_sum(loss, tf.not_equal(targets, PAD_ID))


def _first(items, count):
    for _, item in zip(range(count), items, strict=False):
        yield item


def _final_figures(config, model, tokenizer, test, log):
    """Everything that is reported of a trained model."""
    pairs = list(test.pairs())
    log(f"Translating {len(pairs)} test sentences ...")
    progress = TranslationProgress(log)
    sources, references = zip(*pairs, strict=True)
    translate_all = TextTranslator(model, tokenizer, config.search)
    translate_all(sources[:1])  # builds the graph
    start = time.monotonic()
    hypotheses = [text for text, _ in translate_all(sources, progress)]
    seconds = time.monotonic() - start
    for layer in monitoring.routing_layers(model):
        layer.reset_routing_statistics()
    no_bleu = dataclasses.replace(config, dev_sentences=0)
    perplexity = DevEvaluation(no_bleu, model, tokenizer, test)()["perplexity"]
    cased = corpus_bleu(hypotheses, references)
    uncased = corpus_bleu(hypotheses, references, lowercase=True)
    return {
        "perplexity": perplexity,
        "sentences_per_second": len(pairs) / seconds,
        "bleu": cased.score,
        "signature": cased.signature,
        "bleu_lowercased": uncased.score,
        "signature_lowercased": uncased.signature,
        "examples": [
            {"source": source, "translation": text, "reference": reference}
            for (source, reference), text in zip(
                pairs[:EXAMPLES], hypotheses, strict=False
            )
        ],
        "routing": {
            layer.name: report.routing_figures(layer)
            for layer in monitoring.routing_layers(model)
        },
    }


def _export_and_check(config, folder, model, tokenizer, results, log):
    """Exports, loads the export and lets it translate the examples."""
    path = export_model(config, folder, model, tokenizer, results, "float32")
    served = load_translator(folder.export_path)
    sources = [example["source"] for example in results["examples"]]
    expected = [example["translation"] for example in results["examples"]]
    translations = [text for text, _ in served(sources)]
    same = sum(a == b for a, b in zip(translations, expected, strict=True))
    log(
        f"SavedModel {path}: loaded back, it gives {same} of "
        f"{len(expected)} of these translations to the letter."
    )
