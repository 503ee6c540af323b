"""Trains, evaluates and exports a language model.

Every function takes a configuration or a folder; flags are the business of
`trainers.lm` alone.
"""

import dataclasses
import functools
import itertools

import tensorflow as tf

from language_model.batches import line_batches, running_batches
from language_model.corpora import open_lines
from language_model.generate import TextGenerator
from language_model.serving.served import MAX_LENGTH
from language_model.softmax import SampledSoftmax
from trainers.engine import job
from trainers.engine.batches import SharedBatches
from trainers.engine.own_batches import OwnBatches
from trainers.engine.routing_table import reset_routing, routing_figures
from trainers.engine.task import Task
from trainers.language_model import report
from trainers.language_model.carried import CarriedState
from trainers.language_model.evaluation import (
    DevEvaluation,
    LineLikelihoods,
    perplexities,
    perplexity,
)
from trainers.language_model.fields import identity, score_identity
from trainers.language_model.folder import LmFolder
from trainers.language_model.serving import (
    check_export,
    export_model,
    sample_seeds,
)
from trainers.language_model.vocabulary import (
    make_vocabulary,
    with_vocabulary,
)
from translation.text.special_ids import PAD_ID
from translation.text.text_files import CorpusError, read_labels

_SAMPLES = 5  # texts that are shown at the end


def train_and_evaluate(config, model_dir, log=print, options=None):
    """Trains a language model, or goes on with one, and exports it.

    Args:
        config: `LmConfig`.
        model_dir: str or path. A folder of an earlier run of the same model is
            resumed; a finished one is only reported.
        log: Function of one line of text.
        options: `WorkerOptions`; by default this process trains alone.

    Returns:
        dict of the figures in `results.json`; empty for a worker that is not
        the chief.

    Raises:
        As `trainers.engine.job.train_and_evaluate`.
    """
    model = LanguageModelJob(config, LmFolder(model_dir))
    return job.train_and_evaluate(model, log, options)


class LanguageModelJob(job.Job):
    """The training run of a language model, step by step; see `Job`."""

    def read_corpora(self, log):
        del log
        self.corpora = {
            split: open_lines(getattr(self.config, split), split)
            for split in self.corpora_fields
        }
        return {
            split: corpus.contents() for split, corpus in self.corpora.items()
        }

    def make_vocabulary(self, log):
        make_vocabulary(self.config, self.folder, self.corpora["train"], log)

    def load_vocabulary(self):
        self.vocabulary = self.folder.load_vocabulary(self.config)
        self.config = with_vocabulary(self.config, self.vocabulary)

    def show(self, log):
        report.show_config(self.config, log)

    def task(self, model, evaluated, workers):
        config, vocabulary = self.config, self.vocabulary
        train, dev = self.corpora["train"], self.corpora["dev"]
        evaluate_dev = None
        if evaluated is not None:
            lines = list(itertools.islice(dev.read(), config.dev_lines or None))
            evaluate_dev = DevEvaluation(config, evaluated, vocabulary, lines)
        carried = _carried_state(config, model, workers)
        sampled = _sampled_softmax(config, vocabulary, workers)
        batches = training_batches(
            config, train, vocabulary, workers, self.folder, carried
        )
        if sampled is not None:
            batches.state.draws = sampled.state

        def texts(batch):
            return {"targets": vocabulary.decode(batch["targets"].numpy())}

        return Task(
            model,
            functools.partial(training_loss, sampled=sampled, carried=carried),
            batches,
            evaluate_dev,
            DevEvaluation.about,
            evaluated,
            shown=_with_perplexity,
            static_shapes=not config.batches.by_lines,
            thresholds=config.verdicts,
            identity=identity(config, vocabulary, train),
            score_identity=score_identity(config, dev),
            batches_identity={"workers": workers.count},
            texts=texts,
        )

    def results(self, model, vocabulary, steps, log):
        config, test = self.config, self.corpora["test"]
        found = _evaluate_model(config, model, vocabulary, test, None, log)
        generate = TextGenerator(model, vocabulary, config.generate)
        texts = generate(_SAMPLES * [""], seeds=sample_seeds(config, _SAMPLES))
        found["samples"] = [text for [text] in texts]
        found["tokens"] = steps * config.batches.tokens_per_batch
        return found

    def export(self, model, vocabulary, results):
        return export_model(
            self.config, self.folder, model, vocabulary, results
        )

    def show_results(self, results, log):
        report.show_results(results, log)

    def check_export(self, path, results, log):
        check_export(path, self.config, results, log)

    def show_next_commands(self, log):
        report.show_next_commands(self.folder, log)


def evaluate(model_dir, test=None, labels=None, log=print):
    """Perplexity and routing of a trained model on a corpus.

    Args:
        model_dir: str or path of a folder with a trained model.
        test: str or None. A corpus; None takes that of the configuration.
        labels: str or None. File with a label for each line.
        log: Function of one line of text.

    Returns:
        dict of figures.
    """
    folder = LmFolder(model_dir)
    config = folder.load_config()
    corpus = open_lines(test or config.test, "test")
    model, vocabulary = folder.load_model(config)
    found = _evaluate_model(config, model, vocabulary, corpus, labels, log)
    report.show_results(found, log)
    return found


def export(model_dir, changes=(), precision="float32", max_length=MAX_LENGTH):
    """Writes a new version of the SavedModel.

    Args:
        model_dir: str or path of a folder with a trained model.
        changes: List of `"field=value"`, for the fields of `generate`.
        precision: str. `float32` or `bfloat16`, of weights and products, or
            `int8`, of weights.
        max_length: int. Subwords of a text that are read.

    Returns:
        Path of the version's folder.
    """
    folder = LmFolder(model_dir)
    config = folder.load_config(changes)
    results = folder.load_results(folder.load_config())
    model, vocabulary = folder.load_model(config)
    return export_model(
        config, folder, model, vocabulary, results, precision, max_length
    )


def training_loss(model, batch, sampled=None, carried=None):
    """Sum of the negative log likelihoods of a batch, and its tokens.

    Args:
        model: `LanguageModel`.
        batch: dict as of `running_batches` or `line_batches`.
        sampled: `SampledSoftmax` or None for the full softmax.
        carried: `CarriedState` or None for rows that begin anew.

    Returns:
        Two float32 scalars.
    """
    state = None if carried is None else carried.before(batch["begins"])
    outputs, state = model.features(batch["ids"], state, training=True)
    if carried is not None:
        carried.keep(state)
    outputs_ND = tf.reshape(outputs, [-1, outputs.shape[-1]])
    targets_N = tf.reshape(batch["targets"], [-1])
    if sampled is None:
        nll_N = model.nll(outputs_ND, targets_N)
    else:
        softmax = model.softmax
        nll_N = sampled(
            outputs_ND, targets_N, softmax.table.value, softmax.bias
        )
    is_token_N = tf.cast(targets_N != PAD_ID, nll_N.dtype)
    return tf.reduce_sum(nll_N * is_token_N), tf.reduce_sum(is_token_N)


def training_batches(config, corpus, vocabulary, workers, folder, carried):
    """Batches without end, with what rows carry from one to the next.

    Several workers each read data of their own, and make its rows alone.

    Args:
        config: `LmConfig`.
        corpus: `JoinedLines`.
        vocabulary: `Tokenizer` or `WordVocabulary`.
        workers: `Workers`.
        folder: `LmFolder`, in which their places meet.
        carried: `CarriedState` or None.

    Returns:
        `SharedBatches`, or `OwnBatches` of several workers.

    Raises:
        CorpusError: if there is no line for some worker.
    """
    options, seed = config.batches, config.batches.shuffle_seed
    index, count = workers.index, workers.count
    if count > 1:
        corpus = corpus.shard(index, count)
        options = dataclasses.replace(options, rows=_own_rows(options, workers))
        seed += index
        has_lines = workers.all_gather(corpus.has_lines())
        if not all(has_lines):
            raise CorpusError(
                f"{corpus.name} has no line for worker "
                f"{has_lines.index(False)} of {count}, or with weights some "
                "corpus of it has none: take fewer workers."
            )
    make = line_batches if options.by_lines else running_batches
    lines = corpus.training_dataset(seed)
    batches = make(lines, vocabulary, options, shuffled=True)
    beside = {} if carried is None else {"carried": carried}
    if count > 1:
        return OwnBatches(batches, workers, folder.path / "places", beside)
    shared = SharedBatches(batches)
    shared.state = tf.train.Checkpoint(batches=shared.state, **beside)
    return shared


def _own_rows(options, workers):
    """Rows of this worker: a batch is those of all."""
    if options.rows < workers.count:
        raise ValueError(
            "`rows` must be at least the number of workers, each of which "
            f"reads rows of its own. Received: rows={options.rows}, "
            f"{workers.count} workers"
        )
    begin, end = (
        options.rows * (workers.index + n) // workers.count for n in (0, 1)
    )
    return end - begin


def _carried_state(config, model, workers):
    if config.batches.by_lines or not config.carry_state:
        return None
    replicas = workers.strategy.num_replicas_in_sync
    if replicas > workers.count:
        raise ValueError(
            "`carry_state` must be False on several replicas of a worker, each "
            "of which would need the rows of its own: --set carry_state=False. "
            f"Received: {replicas} replicas, {workers.count} workers"
        )
    return CarriedState(model, _own_rows(config.batches, workers))


def _sampled_softmax(config, vocabulary, workers):
    if config.softmax == "full":
        return None
    counts = getattr(vocabulary, "counts_by_id", None)
    if config.sampled_by == "counts" and counts is None:
        raise ValueError(
            "`sampled_by` counts needs vocabulary_kind=words, whose counts are "
            "known. Received: sampled_by=counts, "
            f"vocabulary_kind={config.vocabulary_kind}"
        )
    by_counts = config.sampled_by == "counts"
    with workers.scope():
        return SampledSoftmax(
            config.sampled_candidates,
            counts=counts if by_counts else None,
            vocab_size=None if by_counts else vocabulary.vocab_size,
            seed=config.loop.seed,
        )


def _with_perplexity(means):
    return {
        "loss": means["loss"],
        "perplexity": perplexity(means["loss"], 1),
    }


def _evaluate_model(config, model, vocabulary, corpus, labels, log):
    lines = list(corpus.read())
    log(f"Reading {len(lines):,} lines of {corpus.name} ...")
    label_of = read_labels(labels, len(lines))
    likelihoods = LineLikelihoods(
        model,
        vocabulary,
        config.batches,
        goes_on=not config.batches.by_lines,
        counted=True,
    )
    reset_routing(model)
    return {
        **perplexities(lines, likelihoods(lines), label_of),
        "vocabulary": f"{vocabulary.vocab_size:,} {config.vocabulary_kind}",
        "routing": routing_figures(model),
    }
