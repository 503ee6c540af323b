"""Exports a trained model as a SavedModel for a server, and tries it."""

import dataclasses
import pathlib

from trainers.engine.served_copy import served_copy
from trainers.translator.folder import build_translator
from translation.search.ensemble import Ensemble
from translation.search.translate import MAX_SOURCE_LENGTH
from translation.serving.export import export_translator, load_translator
from translation.text.corpora.specs import without_folders
from translation.text.directions import parse_directions

# Fields of the configuration that a card tells with the data.
_DATA = (
    *("pair", "train", "dev", "test", "references"),
    *("vocabulary_type", "tokenizer_model", "init_from"),
)

# What a card says of the evaluation, in the words of results.json.
_FIGURES = (
    "bleu",
    "signature",
    "bleu_lowercased",
    "signature_lowercased",
    "chrf",
    "signature_chrf",
    "perplexity",
    "directions",
    "steps",
    "training_minutes",
)


def export_model(
    config,
    folder,
    model,
    tokenizer,
    results,
    precision,
    max_source_length=MAX_SOURCE_LENGTH,
):
    """Writes a new version of the SavedModel.

    Args:
        config: `NmtConfig` with the search to serve with.
        folder: `ModelFolder`.
        model: The trained translator, or an `Ensemble`.
        tokenizer: `Tokenizer`.
        results: dict as in results.json, or None if there are no figures.
        precision: One of `PRECISIONS`.
        max_source_length: int. Subwords of a source, end mark included.

    Returns:
        Path of the version's folder.
    """
    examples = results["examples"] if results else []
    return export_translator(
        served_model(model, precision),
        tokenizer.without_paths(),
        folder.export_path,
        config.search,
        max_source_length,
        target_languages=parse_directions(config.pair).targets,
        about=_about(config, folder, model, tokenizer, results),
        warmup_texts=[example["source"] for example in examples],
        in_8_bits=precision == "int8",
    )


def check_export(path, results, log):
    """Loads an export and lets it translate the examples of the results.

    Args:
        path: Path of the version's folder.
        results: dict as in results.json.
        log: Function of one line of text.
    """
    served = load_translator(path)
    sources = [example["source"] for example in results["examples"]]
    expected = [example["translation"] for example in results["examples"]]
    asked = {}
    if served.has_targets:
        asked["targets"] = [x["target"] for x in results["examples"]]
    translations = [found.text for found in served(sources, **asked)]
    same = sum(a == b for a, b in zip(translations, expected, strict=True))
    log(
        f"SavedModel {path}: loaded back, it gives {same} of "
        f"{len(expected)} of these translations to the letter."
    )


def served_model(model, precision="float32"):
    """Makes a copy of a translator for a server; see `served_copy`.

    Args:
        model: A built `Translator`, or an `Ensemble` of such.
        precision: One of `PRECISIONS`.

    Returns:
        A `Translator` of its own, or an `Ensemble`.

    Raises:
        ValueError: for another precision.
    """
    if isinstance(model, Ensemble):
        members = [served_model(member, precision) for member in model.members]
        return Ensemble(members, model.mean, model.names)
    return served_copy(model, build_translator, precision)


def _about(config, folder, model, tokenizer, results):
    """Collects what a card says beyond the SavedModel itself.

    A card goes with the model to others: it names files, and no folders of
    this machine.
    """
    figures, about = {}, {}
    if results:
        # As it was measured. It may be served with another search.
        measured = results.get("config") or dataclasses.asdict(config)
        figures = {n: results[n] for n in _FIGURES if n in results}
        for name in ("test", "precision", "search"):
            figures[name] = measured[name]
        figures["test"] = without_folders(figures["test"])
    if isinstance(model, Ensemble):
        names = [_last_names(name) for name in model.names]
        about["ensemble"] = {"mean": model.mean, "members": names}
    directions = parse_directions(config.pair)
    if not directions.is_one:
        about["directions"] = [str(pair) for pair in directions]
    fields = dataclasses.asdict(config)
    data = {name: without_folders(fields.pop(name)) for name in _DATA}
    del fields["search"]  # the card has it, as it is served
    known = results or folder.load_results(folder.load_config()) or {}
    return {
        "data": {
            **data,
            **({"pairs": known["pairs"]} if "pairs" in known else {}),
            "tokenizer_sha256": tokenizer.sha256,
        },
        "figures": figures,
        "examples": results["examples"] if results else [],
        **about,
        "configuration": fields.pop("model"),
        "training": fields,
    }


def _last_names(path):
    """Names a member of an ensemble: its folder, or a checkpoint in it."""
    path = pathlib.Path(path)
    is_checkpoint = path.parent.name in ("best", "checkpoints")
    return "/".join(path.parts[-2:]) if is_checkpoint else path.name
