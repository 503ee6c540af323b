"""The card of an exported model: what it is, in JSON and in Markdown."""

import datetime
import json

import tensorflow as tf
import tensorflow_text

import moe_keras
from translation.serving.quantized import SCALES

JSON_FILE = "assets.extra/card.json"
MARKDOWN_FILE = "assets.extra/card.md"


def make_card(served, functions, folder, about=None):
    """Everything that is known of an export.

    Args:
        served: `ServedModel`.
        functions: dict of its concrete functions, by signature name.
        folder: `pathlib.Path` of the version, saved by now.
        about: dict or None. What only the caller knows, such as `data`,
            `figures` or `configuration`; added as it is.

    Returns:
        dict that JSON can hold.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    parameters = [
        x
        for x in served.weights
        if x.dtype.is_floating or x.dtype == tf.int8
        if x.name != f"{SCALES}:0"  # of weights in 8 bits
    ]
    own = served.about()
    return {
        "kind": served.kind,
        "created": datetime.datetime.now(datetime.UTC).isoformat(
            timespec="seconds"
        ),
        "made_with": {
            "moe_keras": moe_keras.__version__,
            "tensorflow": tf.__version__,
            "tensorflow_text": tensorflow_text.__version__,
        },
        "sizes": {
            "parameters": sum(x.shape.num_elements() for x in parameters),
            "weights_dtypes": sorted({x.dtype.name for x in parameters}),
            "bytes": sum(file.stat().st_size for file in files),
            "vocabulary": served.tokenizer.vocab_size,
            **own.pop("sizes", {}),
        },
        **own,
        "signatures": {
            name: signature(function, served.defaults)
            for name, function in functions.items()
        },
        **(about or {}),
    }


def signature(function, defaults=None):
    """Inputs and outputs of a concrete function, with dtypes and shapes.

    Args:
        function: A concrete function with one structure of named tensors.
        defaults: dict of the values of inputs that may be left out, or None.

    Returns:
        dict of `inputs` and `outputs`, each a dict of dicts. An unknown
        dimension is None. An input that may be left out has a `default`.

    >>> spec = tf.TensorSpec([None], tf.string, "text")
    >>> function = tf.function(lambda text: {"same": text}, [spec])
    >>> signature(function.get_concrete_function())["inputs"]
    {'text': {'dtype': 'string', 'shape': [None]}}
    """
    arguments, _ = function.structured_input_signature
    return {
        "inputs": {
            spec.name: _described(spec, (defaults or {}).get(spec.name))
            for spec in arguments
        },
        "outputs": {
            name: _described(spec)
            for name, spec in function.structured_outputs.items()
        },
    }


def _described(spec, default=None):
    described = {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
    return described if default is None else described | {"default": default}


def write_card(card, folder):
    """Writes `card.json` and `card.md` into a version of a SavedModel."""
    text = json.dumps(card, indent=2, ensure_ascii=False)
    (folder / JSON_FILE).parent.mkdir(exist_ok=True)
    (folder / JSON_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / MARKDOWN_FILE).write_text(as_markdown(card), encoding="utf-8")


def as_markdown(card):
    """The card for people: a section for each entry, tables of signatures.

    >>> print(as_markdown({"kind": "translator", "sizes": {"bytes": 12345}}))
    # Translator
    <BLANKLINE>
    - kind: translator
    <BLANKLINE>
    ## Sizes
    <BLANKLINE>
    - bytes: 12,345
    <BLANKLINE>
    """
    plain = {k: v for k, v in card.items() if not _is_section(v)}
    lines = [f"# {card['kind'].capitalize()}", "", *_items(plain)]
    for name, value in card.items():
        if name in plain:
            continue
        lines += ["", f"## {name.replace('_', ' ').capitalize()}", ""]
        if name == "signatures":
            lines += _tables(value)
        elif isinstance(value, dict):
            lines += _items(value) or ["none"]
        else:
            lines += [line for item in value for line in (*_items(item), "")]
    return "\n".join(lines).rstrip() + "\n"


def _is_section(value):
    """A dict, or a list of dicts."""
    is_list = isinstance(value, list) and value
    return isinstance(value[0] if is_list else value, dict)


def _items(values, indent=""):
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}- {name}:", *_items(value, indent + "  ")]
        else:
            lines.append(f"{indent}- {name}: {_said(value)}")
    return lines


def _said(value):
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tables(signatures):
    lines = ["| signature | | name | dtype | shape |", "|" + " --- |" * 5]
    for name, sides in signatures.items():
        for side, tensors in sides.items():
            for tensor, spec in tensors.items():
                shape = ", ".join(
                    "?" if n is None else str(n) for n in spec["shape"]
                )
                optional = ", may be left out" if "default" in spec else ""
                lines.append(
                    f"| {name} | {side.removesuffix('s')} "
                    f"| {tensor}{optional} "
                    f"| {spec['dtype']} | ({shape}) |"
                )
    return lines
