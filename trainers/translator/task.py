"""Trains, evaluates and exports a translator.

Every function takes a configuration or a model folder; flags are the business
of `trainers.nmt` alone.
"""

import dataclasses
import functools

import tensorflow as tf

from trainers.engine import job
from trainers.engine.losses import (
    masked_sum,
    smoothed_cross_entropy,
    without_smoothing,
)
from trainers.engine.task import Task
from trainers.translator import report
from trainers.translator.asked_directions import asked_pairs
from trainers.translator.corpora import (
    check_own_evaluation,
    more_references,
    read_corpora,
    tell_lacking_characters,
    tell_too_long,
)
from trainers.translator.ensembles import open_translator
from trainers.translator.evaluation import (
    DevEvaluation,
    evaluate_model,
    perplexity_of,
)
from trainers.translator.fields import (
    batches_identity,
    identity,
    score_identity,
)
from trainers.translator.folder import ModelFolder
from trainers.translator.initial import check_initial, load_initial_weights
from trainers.translator.serving import check_export, export_model
from trainers.translator.vocabulary import (
    given_tokenizer,
    make_tokenizer,
    shared_tokenizer,
    with_vocabulary,
)
from translation.search.translate import MAX_SOURCE_LENGTH
from translation.text.corpora.multilingual import open_directions
from translation.text.input_pipeline import training_batches
from translation.text.special_ids import PAD_ID


def train_and_evaluate(config, model_dir, log=print, options=None):
    """Trains a translator, or goes on with one, and leaves it ready to serve.

    Args:
        config: `trainers.translator.presets.NmtConfig`.
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
    translation = TranslationJob(config, ModelFolder(model_dir))
    return job.train_and_evaluate(translation, log, options)


class TranslationJob(job.Job):
    """The training run of a translator, step by step; see `Job`."""

    def check(self):
        config, folder = self.config, self.folder
        if not folder.has_config():
            check_own_evaluation(config)
            if config.init_from:
                check_initial(config)
        self._given = given_tokenizer(config, folder)
        self._check_folder()

    def _check_folder(self):
        """Refuses a configuration that is not the folder's, and any loss.

        Without a vocabulary there its size is not known, and nothing trained.
        """
        config, folder = self.config, self.folder
        has_vocabulary = folder.tokenizer_path.exists()
        if has_vocabulary:
            config = with_vocabulary(config, folder.load_tokenizer())
            if folder.load_results(config):
                return  # there is nothing left to train
        folder.check_nothing_is_lost(needed=[folder.tokenizer_path.name])
        if has_vocabulary:
            folder.check_same(config)

    def read_corpora(self, log):
        self.corpora = read_corpora(self.config, log)
        return {
            **self.corpora.contents,
            "dev.sha256": self.corpora.dev_sha256,
        }

    def make_vocabulary(self, log):
        make_tokenizer(
            self.config, self.folder, self.corpora.train, self._given, log
        )

    def load_vocabulary(self):
        self.tokenizer = shared_tokenizer(self.folder)
        self.config = with_vocabulary(self.config, self.tokenizer)

    def begin(self, model, log):
        if self.config.init_from:
            load_initial_weights(self.config, model)
            log(f"Starting from the best weights in {self.config.init_from}.")

    def show(self, log):
        config = self.config
        report.show_config(config, log)
        tell_too_long(self.corpora, self.tokenizer, config.batches, log)
        if config.init_from or config.tokenizer_model:
            tell_lacking_characters(self.corpora, self.tokenizer, log)

    def task(self, model, evaluated, workers):
        config, tokenizer = self.config, self.tokenizer
        evaluate_dev, about_score = None, ""
        if evaluated is not None:
            evaluate_dev = DevEvaluation(
                config, evaluated, tokenizer, self.corpora.dev
            )
            about_score = evaluate_dev.about_score()

        def texts(batch):
            ids = {"sources": batch["source"], "targets": batch["target_out"]}
            return {
                name: tokenizer.decode(rows.numpy().tolist())
                for name, rows in ids.items()
            }

        smoothing = config.label_smoothing
        return Task(
            model,
            functools.partial(training_loss, smoothing=smoothing),
            training_batches(self.corpora.train, tokenizer, config.batches),
            evaluate_dev,
            about_score,
            evaluated,
            shown=_with_perplexity,
            static_shapes=config.batches.static_shapes,
            thresholds=config.verdicts,
            identity=identity(config, tokenizer, self.corpora.train),
            score_identity=score_identity(config, self.corpora.dev_sha256),
            batches_identity=batches_identity(config),
            texts=texts,
        )

    def resumed(self):
        self.folder.save_filter_reports(self.corpora.train.reports())

    def results(self, model, vocabulary, steps, log):
        del steps
        found = evaluate_model(
            self.config,
            model,
            vocabulary,
            self.corpora.test,
            log,
            self.corpora.references,
            functools.partial(self.folder.save_texts, "test"),
        )
        found["pairs"] = {
            split: sum(part["pairs"] for part in parts)
            for split, parts in self.corpora.contents.items()
        }
        return found

    def export(self, model, vocabulary, results):
        return export_model(
            self.config, self.folder, model, vocabulary, results, "float32"
        )

    def show_results(self, results, log):
        report.show_results(results, log)

    def check_export(self, path, results, log):
        check_export(path, results, log)

    def show_next_commands(self, log):
        report.show_next_commands(self.config.pair, self.folder, log)


def evaluate(
    model_dir,
    test=None,
    changes=(),
    log=print,
    references=None,
    pair=None,
    zero_shot=False,
):
    """Perplexity, scores and routing of a trained model on a test set.

    Its sources, translations and references are written to `test.*` in the
    folder, or to `evaluated.*` if it is another test set than that of the
    configuration.

    Args:
        model_dir: str or path of a folder with a trained model.
        test: str or None. A corpus; None takes that of the configuration.
        changes: List of `"field=value"`, for the fields of the search.
        log: Function of one line of text.
        references: str or None. Further references of the test set, see
            `read_references`; None takes those of the configuration with its
            test set.
        pair: str or None. Directions of a model of several to evaluate; None
            for all that it was trained in.
        zero_shot: bool. Whether `pair` may have directions that the model was
            not trained in, between languages that it knows. They are
            evaluated apart, and their texts written to `zero_shot.*`.

    Returns:
        dict of figures, those of directions without training as `zero_shot`.

    Raises:
        ValueError: for directions that the model does not translate in.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config(changes)
    trained, untrained = asked_pairs(config.pair, pair, zero_shot)
    is_own = test in (None, config.test)
    if references is None:
        references = config.references if is_own else ""
    is_own = is_own and str(trained) == config.pair
    parts = []
    for directions, name in (
        (trained, "test" if is_own else "evaluated"),
        (untrained, "zero_shot"),
    ):
        if directions:
            part = with_directions(config, directions, test)
            parts.append((part, name, *_test_texts(folder, part, references)))
    model, tokenizer = folder.load_model(config)
    results = {}
    for part, name, corpus, more in parts:
        if name == "zero_shot":
            log(f"Zero-shot: the model was not trained in {part.pair}.")
        keep = functools.partial(folder.save_texts, name)
        found = evaluate_model(part, model, tokenizer, corpus, log, more, keep)
        report.show_results(found, log)
        results |= {name: found} if name == "zero_shot" else found
    return results


def _test_texts(folder, config, references):
    """The test corpus of a configuration and its further references."""
    is_marked = bool(folder.load_tokenizer().targets)
    corpus = open_directions(
        config.test, config.pair, "test", is_marked=is_marked
    )
    corpus.check()
    return corpus, more_references(references, corpus, config.pair)


def with_directions(config, directions, test=None):
    """The configuration of a trained model, to evaluate these directions.

    Args:
        config: `NmtConfig`.
        directions: `Directions`.
        test: str or None. Another test corpus.

    Returns:
        `NmtConfig`.
    """
    # Directions have names in these, which others have not.
    return dataclasses.replace(
        config,
        pair=str(directions),
        test=test or config.test,
        mixing="proportional",
        dev_mean="mean",
    )


def export(
    model_dir,
    changes=(),
    members=(),
    mean="probabilities",
    precision="float32",
    max_source_length=MAX_SOURCE_LENGTH,
):
    """Writes a new version of the SavedModel.

    Args:
        model_dir: str or path of a folder with a trained model.
        changes: List of `"field=value"`, for the fields of the search.
        members, mean: An ensemble, see `ensembles.open_translator`.
        precision: str. `float32` or `bfloat16`, of weights and products, or
            `int8`, of weights.
        max_source_length: int. Subwords of a source, end mark included, that
            are translated.

    Returns:
        Path of the version's folder.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config(changes)
    results = None
    if not members:  # an ensemble has not been measured
        results = folder.load_results(folder.load_config())
    model, tokenizer = open_translator(folder, config, members, mean)
    return export_model(
        config,
        folder,
        model,
        tokenizer,
        results,
        precision,
        max_source_length,
    )


def _with_perplexity(means):
    perplexity = perplexity_of(means["nll"])
    return {"loss": means["loss"], "perplexity": perplexity}


def training_loss(model, batch, smoothing):
    """Sum of the smoothed cross entropy, tokens, sum of the plain one."""
    logits = model(batch, training=True)
    targets = batch["target_out"]
    mask = tf.not_equal(targets, PAD_ID)
    loss = smoothed_cross_entropy(targets, logits, smoothing)
    plain = without_smoothing(loss, targets, logits, smoothing)
    return *masked_sum(loss, mask), {"nll": masked_sum(plain, mask)[0]}
