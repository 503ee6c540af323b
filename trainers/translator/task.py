"""What there is to do with a translator: train, evaluate, export.

Every function takes a configuration or a model folder; flags are the business
of `trainers.nmt` alone.
"""

import dataclasses
import functools

import tensorflow as tf

from trainers.engine.losses import (
    masked_sum,
    smoothed_cross_entropy,
    without_smoothing,
)
from trainers.engine.run import begin_run
from trainers.engine.task import Task
from trainers.translator import report
from trainers.translator.corpora import (
    check_own_evaluation,
    read_corpora,
    tell_lacking_characters,
    tell_too_long,
)
from trainers.translator.ensembles import open_translator
from trainers.translator.evaluation import (
    DevEvaluation,
    final_figures,
    perplexity_of,
)
from trainers.translator.fields import (
    batches_identity,
    identity,
    score_identity,
)
from trainers.translator.folder import ModelFolder, build_model
from trainers.translator.initial import check_initial, load_initial_weights
from trainers.translator.serving import check_export, export_model
from trainers.translator.vocabulary import (
    given_tokenizer,
    make_tokenizer,
    shared_tokenizer,
    with_vocabulary,
)
from translation.search.translate import MAX_SOURCE_LENGTH
from translation.text.corpora.corpus import open_corpus
from translation.text.corpora.references import read_references
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
        CorpusError, FolderError, TokenizerError: one line each, before
            training starts.
        ClusterError, WorkerLost: one line each, about other workers.
        CheckpointError: if a checkpoint cannot be used or written.
        TrainingError: if the loss stays other than a finite number.
        Interrupted: after SIGTERM or Ctrl-C; all is saved.
    """
    folder = ModelFolder(model_dir)
    corpora_fields = ("train", "dev", "test")  # may have other places
    with begin_run(config, folder, options, log, corpora_fields) as run:
        given = None
        if run.is_chief:  # before anything that takes long
            _check_start(config, folder)
            given = given_tokenizer(config, folder)
            _check_folder(config, folder)
        corpora = read_corpora(config, run.log)
        with run.workers:
            contents = {**corpora.contents, "dev.sha256": corpora.dev_sha256}
            run.check_same("corpora", contents)
            if run.is_chief:
                make_tokenizer(config, folder, corpora.train, given, run.log)
            run.wait()
            tokenizer = shared_tokenizer(folder)
            config = with_vocabulary(config, tokenizer)
            loop = None
            if not run.is_finished(config):
                loop = _train(config, run, corpora, tokenizer)
        if run.is_chief:
            return _finish(config, folder, loop, corpora, run.log)
    return {}


def _check_folder(config, folder):
    """Refuses a configuration that is not the folder's, and to lose anything.

    Without a vocabulary there its size is not known, and nothing trained.
    """
    has_vocabulary = folder.tokenizer_path.exists()
    if has_vocabulary:
        config = with_vocabulary(config, folder.load_tokenizer())
        if folder.load_results(config):
            return  # there is nothing left to train
    folder.check_nothing_is_lost(needed=[folder.tokenizer_path.name])
    if has_vocabulary:
        folder.check_same(config)


def _check_start(config, folder):
    """Refuses what a run should not begin with."""
    if folder.has_config():
        return
    check_own_evaluation(config)
    if config.init_from:
        check_initial(config)


def evaluate(model_dir, test=None, changes=(), log=print, references=None):
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

    Returns:
        dict of figures.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config(changes)
    corpus = open_corpus(test or config.test, config.pair, "test")
    corpus.check()
    is_own = test in (None, config.test)
    if references is None:
        references = config.references if is_own else ""
    more = read_references(references, corpus)
    keep = functools.partial(
        folder.save_texts, "test" if is_own else "evaluated"
    )
    model, tokenizer = folder.load_model(config)
    results = final_figures(config, model, tokenizer, corpus, log, more, keep)
    report.show_results(results, log)
    return results


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
        precision: str. `float32` or `bfloat16`, of weights and products.
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


def _train(config, run, corpora, tokenizer):
    """What all workers do; the `Loop` at its end."""
    with run.workers.scope():
        model = build_model(config)
        if config.init_from and not run.has_begun():
            load_initial_weights(config, model)
            run.log(f"Starting from the best weights in {config.init_from}.")
    if run.is_chief:
        report.show_config(config, run.log)
        tell_too_long(corpora, tokenizer, config.batches, run.log)
        if config.init_from or config.tokenizer_model:
            tell_lacking_characters(corpora, tokenizer, run.log)
    task = _task(config, model, tokenizer, corpora, run.workers)
    loop = run.resume(task, config)
    if run.is_chief:  # not before it is known to be the same run
        run.folder.save_filter_reports(corpora.train.reports())
    loop.run()
    return loop


def _finish(config, folder, loop, corpora, log):
    """What the chief does when training is over."""
    if loop is None:
        results = folder.load_results(config)
        log(f"{folder.path} is done: {results['steps']} steps.")
        report.show_results(results, log)
        report.show_next_commands(folder, log)
        return results
    model, tokenizer = folder.load_model(config)
    results = final_figures(
        config,
        model,
        tokenizer,
        corpora.test,
        log,
        corpora.references,
        functools.partial(folder.save_texts, "test"),
    )
    results["pairs"] = {
        split: sum(part["pairs"] for part in parts)
        for split, parts in corpora.contents.items()
    }
    results["steps"] = int(loop.step)
    results["training_minutes"] = float(loop.seconds) / 60
    # Whatever becomes of the lines below, all that is to be saved is saved.
    path = export_model(config, folder, model, tokenizer, results, "float32")
    results["config"] = dataclasses.asdict(config)
    folder.save_results(results)
    report.show_results(results, log)
    check_export(path, results, log)
    report.show_next_commands(folder, log)
    return results


def _task(config, model, tokenizer, corpora, workers):
    def texts(batch):
        return {
            "sources": tokenizer.decode(batch["source"].numpy().tolist()),
            "targets": tokenizer.decode(batch["target_out"].numpy().tolist()),
        }

    evaluated_model, evaluate, about_score = None, None, ""
    if workers.is_chief:
        if workers.strategy.num_replicas_in_sync > 1:
            evaluated_model = build_model(config)
        evaluate = DevEvaluation(
            config, evaluated_model or model, tokenizer, corpora.dev
        )
        about_score = evaluate.about_score()
    return Task(
        model,
        functools.partial(training_loss, smoothing=config.label_smoothing),
        training_batches(corpora.train, tokenizer, config.batches),
        evaluate,
        about_score,
        evaluated_model,
        shown=_with_perplexity,
        static_shapes=config.batches.static_shapes,
        thresholds=config.verdicts,
        identity=identity(config, tokenizer, corpora.train),
        score_identity=score_identity(config, corpora.dev_sha256),
        batches_identity=batches_identity(config),
        texts=texts,
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
