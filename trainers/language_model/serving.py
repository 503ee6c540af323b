"""From a trained language model to the SavedModel that a server loads."""

import dataclasses

import tensorflow as tf

from language_model.serving.export import export_language_model
from language_model.serving.served import MAX_LENGTH
from trainers.engine.served_copy import served_copy
from trainers.language_model.folder import build_language_model
from translation.text.corpora.specs import without_folders

# Fields of the configuration that a card tells with the data.
_DATA = ("train", "dev", "test", "vocabulary_file")

# What a card says of the evaluation, in the words of results.json.
_FIGURES = (
    *("perplexity", "subword_perplexity", "bits_per_character"),
    *("words", "subwords", "lines", "steps", "training_minutes"),
)


def export_model(
    config,
    folder,
    model,
    vocabulary,
    results,
    precision="float32",
    max_length=MAX_LENGTH,
):
    """Writes a new version of the SavedModel.

    Args:
        config: `LmConfig`, with the options to continue texts with.
        folder: `LmFolder`.
        model: The trained `LanguageModel`.
        vocabulary: `Tokenizer` or `WordVocabulary`.
        results: dict as in results.json, or None if there are no figures.
        precision: One of `trainers.engine.served_copy.PRECISIONS`.
        max_length: int. Subwords of a text that are read.

    Returns:
        Path of the version's folder.
    """
    about = _about(config, vocabulary, results)
    if config.vocabulary_kind == "subwords":
        vocabulary = vocabulary.without_paths()
    return export_language_model(
        served_copy(model, build_language_model, precision),
        vocabulary,
        folder.export_path,
        config.generate,
        max_length,
        about,
        warmup_texts=results["samples"] if results else (),
        in_8_bits=precision == "int8",
    )


def check_export(path, config, results, log):
    """Loads an export and lets it write the samples of the results.

    Args:
        path: Path of the version's folder.
        config: `LmConfig`.
        results: dict as in results.json; its samples are those of
            `sample_seeds`.
        log: Function of one line of text.
    """
    expected = results["samples"]
    loaded = tf.saved_model.load(str(path))  # keep it: it owns the variables
    found = loaded.signatures["generate_with_options"](
        inputs=tf.fill([len(expected)], ""),
        temperature=tf.constant([-1.0]),
        top_k=tf.constant([-1]),
        top_p=tf.constant([-1.0]),
        max_tokens=tf.constant([0]),
        seed=tf.constant(sample_seeds(config, len(expected))),
    )
    texts = [text.decode() for text in found["outputs"].numpy()]
    same = sum(a == b for a, b in zip(texts, expected, strict=True))
    log(
        f"SavedModel {path}: loaded back, it writes {same} of "
        f"{len(expected)} of these texts to the letter."
    )


def sample_seeds(config, count):
    """Seeds of the texts that are shown at the end of a run."""
    return [config.generate.seed + n for n in range(count)]


def _about(config, vocabulary, results):
    """What a card says beyond the SavedModel itself.

    A card goes with the model to others: it names files, and no folders of
    this machine.
    """
    figures, results = {}, results or {}
    if results:
        # As it was measured, which need not be as it is served.
        measured = results.get("config") or dataclasses.asdict(config)
        figures = {n: results[n] for n in _FIGURES if n in results}
        figures["test"] = without_folders(measured["test"])
        figures["precision"] = measured["precision"]
    fields = dataclasses.asdict(config)
    del fields["generate"]  # the card has it, as it is served
    data = {name: without_folders(fields.pop(name)) for name in _DATA}
    return {
        "data": {**data, "vocabulary_sha256": vocabulary.sha256},
        "figures": figures,
        "samples": [{"text": text} for text in results.get("samples", ())],
        "configuration": fields.pop("model"),
        "training": fields,
    }
