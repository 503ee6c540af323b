"""Reads models from JSON: a trainer's config.json, or sizes by hand."""

import json
import os

from moe_keras.paths import local_path
from moe_keras.plan.language_model import language_model_from_config
from moe_keras.plan.memory import Training
from moe_keras.plan.model import LayerCost, Model, MoE
from moe_keras.plan.translator import translator_from_config


def read_model(path: str | os.PathLike) -> tuple[Model, Training]:
    """Reads the sizes of a model and how it is trained.

    Two kinds of files are known. The `config.json` of a model folder of
    `trainers.nmt` or `trainers.lm`, and one with the fields of `Model`:

        {"moe": [{"depth": 64, "hidden_dim": 256, "num_experts": 8, "k": 2}],
         "dense": {"parameters": 100000, "ops": 90000, "kept": 5000},
         "tokens": 4096}

    Args:
        path: str or path.

    Returns:
        `(Model, Training)`. A lazy optimizer keeps what the plain one keeps,
        and is counted as that: the gradients of a step are then at most those
        that are counted.

    Raises:
        ValueError: if the file cannot be read, or is neither.
    """
    path = local_path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    try:
        if "moe" in values:
            return _from_sizes(path.stem, values), Training()
        if "model" in values:
            return _from_trainer(path.parent.name or path.stem, values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} does not describe a model: {_said(error)}."
        ) from error
    raise ValueError(
        f'{path} has neither "moe" nor "model": it is no config.json of a '
        "model folder, and has not the sizes of a model."
    )


def _said(error):
    missing = isinstance(error, KeyError)
    return f"{error.args[0]!r} is missing" if missing else error


def _from_sizes(name, values):
    return Model(
        name=values.get("name", name),
        dense=LayerCost(**values.get("dense", {})),
        moe=tuple(MoE(**layer) for layer in values["moe"]),
        tokens=values["tokens"],
    )


def _from_trainer(name, values):
    loop, batches = values["loop"], values["batches"]
    training = Training(
        optimizer=loop.get("optimizer", "adam").removeprefix("lazy_"),
        average=loop["average_decay"] > 0,
        accumulate=loop["accumulate_steps"] > 1,
        precision=values["precision"],
    )
    if "layers" in values["model"]:  # a translator has those of its two sides
        return _language_model(name, values, batches), training
    tokens = batches["tokens_per_batch"]
    return translator_from_config(name, values["model"], tokens), training


def _language_model(name, values, batches):
    sampled = values["softmax"] == "sampled"
    return language_model_from_config(
        name,
        values["model"],
        tokens=batches["rows"] * batches["time_steps"],
        candidates=values["sampled_candidates"] if sampled else None,
    )
