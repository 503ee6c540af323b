"""What there is to do with a translator: train, evaluate, average, export.

Every function takes a configuration or a model folder; flags are the business
of `trainers.nmt` alone.
"""

import contextlib
import dataclasses
import functools
import math
import time

import tensorflow as tf

from moe_keras import __version__, monitoring
from moe_keras.parallel.cluster import ClusterError
from moe_keras.parallel.strategies import start_workers
from trainers import report
from trainers.checkpoint_average import average_checkpoints
from trainers.checkpoints import as_json
from trainers.ensembles import open_translator
from trainers.loop import Loop, seed_everything
from trainers.losses import (
    masked_sum,
    smoothed_cross_entropy,
    without_smoothing,
)
from trainers.model_folder import (
    FolderError,
    ModelFolder,
    build_model,
    identity,
    measure,
)
from trainers.presets import field_paths
from trainers.progress import TranslationProgress
from trainers.serving import export_model
from trainers.task import Task
from translation.adopted_tokenizer import adopt_tokenizer
from translation.bleu import corpus_bleu
from translation.corpus import open_corpus
from translation.export import load_translator
from translation.input_pipeline import evaluation_batches, training_batches
from translation.special_ids import PAD_ID
from translation.tokenizer import Tokenizer, TokenizerError, train_tokenizer
from translation.translate import TextTranslator

EXAMPLES = 5  # translations shown at the end


def train_and_evaluate(config, model_dir, log=print, start=start_workers):
    """Trains a translator, or goes on with one, and leaves it ready to serve.

    Args:
        config: `trainers.presets.NmtConfig`.
        model_dir: str or path. A folder of an earlier run of the same model is
            resumed; a finished one is only reported.
        log: Function of one line of text.
        start: Function of `about` that makes the `Workers`; by default this
            process trains alone.

    Returns:
        dict of the figures in `results.json`; empty for a worker that is not
        the chief.

    Raises:
        CorpusError, FolderError, TokenizerError: one line each, before
            training starts.
        ClusterError, WorkerLost: one line each, about other workers.
        CheckpointError: if a checkpoint cannot be used or written.
        TrainingError: if the loss stays other than a finite number.
        Interrupted: after SIGTERM or Ctrl-C; all is saved.
    """
    workers = start(about=_about(config))
    if not workers.is_chief:
        log = _say_nothing
    folder = ModelFolder(model_dir)
    seed_everything(config.loop.seed)  # drops TensorFlow's resources: first
    given = _given_tokenizer(config, folder) if workers.is_chief else None
    corpora, sizes = _open_corpora(config, log)
    with folder.lock() if workers.is_chief else contextlib.nullcontext():
        with workers:
            _check_same_corpora(workers, sizes)
            if workers.is_chief:
                _make_tokenizer(config, folder, corpora["train"], given, log)
            workers.everyones(None)  # it is there
            config, loop = _train(config, folder, corpora, workers, log)
        if workers.is_chief:
            return _finish(config, folder, loop, corpora["test"], log)
    return {}


def _about(config):
    """What must be the same in all workers; corpora may have other places."""
    fields = field_paths(config)
    for name in ("train", "dev", "test"):
        del fields[name]
    return as_json({**fields, "version of moe_keras": __version__})


def _say_nothing(line):
    del line


def _open_corpora(config, log):
    """The corpora by their splits, and their sizes."""
    names = dict.fromkeys([config.train, config.dev, config.test])
    log(f"Reading {', '.join(names)} ...")
    corpora = {
        "train": open_corpus(config.train, config.pair, filters=config.filters),
        "dev": open_corpus(config.dev, config.pair, "dev"),
        "test": open_corpus(config.test, config.pair, "test"),
    }
    # What takes longest comes last.
    sizes = {
        split: list(corpora[split].check())
        for split in ("dev", "test", "train")
    }
    for filtered in corpora["train"].reports():
        for line in filtered.lines():
            log(line)
    return corpora, sizes


def _check_same_corpora(workers, sizes):
    for index, others in enumerate(workers.everyones(sizes)):
        if others != sizes:
            raise ClusterError(
                "All workers must have the same corpora. Pairs, and those "
                f"with an empty side: {others} at worker {index}, {sizes} here."
            )


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


def export(
    model_dir,
    changes=(),
    members=(),
    mean="probabilities",
    precision="float32",
):
    """Writes a new version of the SavedModel.

    Args:
        model_dir: str or path of a folder with a trained model.
        changes: List of `"field=value"`, for the fields of the search.
        members, mean: An ensemble, see `trainers.ensembles.open_translator`.
        precision: str. `float32` or `bfloat16`, of weights and products.

    Returns:
        Path of the version's folder.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config(changes)
    results = None
    if not members:  # an ensemble has not been measured
        results = folder.load_results(folder.load_config())
    model, tokenizer = open_translator(folder, config, members, mean)
    return export_model(config, folder, model, tokenizer, results, precision)


def _train(config, folder, corpora, workers, log):
    """What all workers do.

    Returns:
        The config as it came out, and the `Loop`, None if all was done before.
    """
    tokenizer = _shared_tokenizer(folder)
    config = _with_vocabulary(config, tokenizer)
    folder.check_same(config)
    if workers.everyones(bool(folder.load_results(config)))[0]:
        return config, None
    with workers.scope():
        model = build_model(config)
    if workers.is_chief:
        folder.save_config(config)
        folder.save_filter_reports(corpora["train"].reports())
        report.show_config(config, log)
    task = _task(config, model, tokenizer, corpora, workers)
    loop = Loop(task, config.loop, folder.path, log, workers)
    loop.resume()
    loop.run()
    return config, loop


def _finish(config, folder, loop, test, log):
    """What the chief does when training is over."""
    if loop is None:
        results = folder.load_results(config)
        log(f"{folder.path} is done: {results['steps']} steps.")
        report.show_results(results, log)
        report.show_next_commands(folder, log)
        return results
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


def _given_tokenizer(config, folder):
    """The vocabulary that the configuration names, if it is needed."""
    path = config.tokenizer_model
    if not path or folder.tokenizer_path.exists():
        return None
    tokenizer = adopt_tokenizer(path)
    if tokenizer.vocab_size != config.model.vocab_size:
        raise TokenizerError(
            f"`vocab_size` must be that of {path}, which has "
            f"{tokenizer.vocab_size} subwords, bytes and special ids included: "
            f"--set vocab_size={tokenizer.vocab_size}. "
            f"Received: vocab_size={config.model.vocab_size}"
        )
    return tokenizer


def _make_tokenizer(config, folder, corpus, given, log):
    if folder.tokenizer_path.exists():
        return
    if given is not None:
        folder.save_tokenizer(given)
        return
    log(f"Training a vocabulary of {config.model.vocab_size} subwords ...")
    tokenizer = train_tokenizer(
        corpus.sample(config.vocabulary_sentences, config.loop.seed),
        config.model.vocab_size,
        config.vocabulary_type,
        config.vocabulary_sentences,
    )
    folder.save_tokenizer(tokenizer)


def _shared_tokenizer(folder):
    if not folder.tokenizer_path.exists():
        raise FolderError(
            f"There is no {folder.tokenizer_path}, though the chief has "
            "written it: all workers must have the same folder under this "
            "path."
        )
    return Tokenizer.load(folder.tokenizer_path)


def _with_vocabulary(config, tokenizer):
    """A small corpus may bear fewer subwords than asked for."""
    model = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    return dataclasses.replace(config, model=model)


def _task(config, model, tokenizer, corpora, workers):
    def texts(batch):
        return {
            "sources": tokenizer.decode(batch["source"].numpy().tolist()),
            "targets": tokenizer.decode(batch["target_out"].numpy().tolist()),
        }

    evaluated, evaluate = None, None
    if workers.is_chief:
        if workers.strategy.num_replicas_in_sync > 1:
            evaluated = build_model(config)
        evaluate = DevEvaluation(
            config, evaluated or model, tokenizer, corpora["dev"]
        )
    return Task(
        model,
        functools.partial(training_loss, smoothing=config.label_smoothing),
        training_batches(corpora["train"], tokenizer, config.batches),
        evaluate,
        evaluated=evaluated,
        static_shapes=config.batches.static_shapes,
        thresholds=config.verdicts,
        identity=identity(config),
        measure=measure(config),
        texts=texts,
    )


def training_loss(model, batch, smoothing):
    """Sum of the smoothed cross entropy, tokens, sum of the plain one."""
    logits = model(batch, training=True)
    targets = batch["target_out"]
    mask = tf.not_equal(targets, PAD_ID)
    loss = smoothed_cross_entropy(targets, logits, smoothing)
    plain = without_smoothing(loss, targets, logits, smoothing)
    return *masked_sum(loss, mask), masked_sum(plain, mask)[0]


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
        search = config.search
        if config.dev_search == "greedy":
            search = dataclasses.replace(
                search, beam_width=1, num_translations=1
            )
        self._translate = TextTranslator(model, tokenizer, search)
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
            hypotheses = [found.text for found in translations]
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
    hypotheses = [found.text for found in translate_all(sources, progress)]
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
    translations = [found.text for found in served(sources)]
    same = sum(a == b for a, b in zip(translations, expected, strict=True))
    log(
        f"SavedModel {path}: loaded back, it gives {same} of "
        f"{len(expected)} of these translations to the letter."
    )
