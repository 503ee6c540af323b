"""Requests that TensorFlow Serving runs before a version takes traffic.

The first request to a signature takes much longer than later ones, because it
sets up memory and kernels. So a SavedModel has requests to each signature, in
`assets.extra/tf_serving_warmup_requests`. The package `tensorflow-serving-api`
(the extra `serving`) defines their messages.
"""

import itertools

import tensorflow as tf

from translation.serving.served_model import TEXT_SIGNATURES

FILE = "assets.extra/tf_serving_warmup_requests"

# Default sources: a short one, a middling one and a long one.
TEXTS = tuple(" ".join(map(str, range(count))) for count in (3, 10, 30))

_BATCH_SIZES = (1, 8, 64)


class NoServingApi(ImportError):
    """The package `tensorflow-serving-api` is not installed."""


def in_batches(names, texts):
    """Requests with texts alone, each signature with 1, 8 and 64 of them.

    Args:
        names: Sequence of str, signatures with the one input `inputs`.
        texts: Sequence of str; `TEXTS` if empty.

    Returns:
        List of `(signature name, dict of tensors)`.
    """
    texts = [text.encode("utf-8", "replace") for text in texts or TEXTS]
    batches = [
        tf.constant([*itertools.islice(itertools.cycle(texts), size)])
        for size in _BATCH_SIZES
    ]
    return [(name, {"inputs": batch}) for name in names for batch in batches]


def translation_requests(texts=(), target_languages=()):
    """Requests to a translator: several batches of texts, the rest once.

    Args:
        texts: Sequence of str, the usual kind of source; `TEXTS` if empty.
        target_languages: Sequence of str, those that a model of several is
            asked for; each gets a request.

    Returns:
        List of `(signature name, dict of tensors)`.

    >>> [name for name, _ in translation_requests(["Hello!"])][:2]
    ['serving_default', 'serving_default']
    """
    found = in_batches(("serving_default", "translate_nbest"), texts)
    one = found[0][1]["inputs"]
    options = {
        "inputs": one,
        "beam_width": tf.constant([0]),
        "length_penalty": tf.constant([-1.0]),
        "coverage_penalty": tf.constant([-1.0]),
        "target_language": tf.constant([""]),
    }
    constraints = {
        "prefix": tf.constant(["a"]),
        "min_length": tf.constant([3]),
        "no_repeat_ngram_size": tf.constant([3]),
    }
    sampling = {
        "inputs": one,
        "temperature": tf.constant([0.8]),
        "top_k": tf.constant([40]),
        "top_p": tf.constant([0.9]),
        "seed": tf.constant([1]),
        "target_language": tf.constant([""]),
    }
    found = [
        *found,
        ("translate_with_options", options),
        ("translate_constrained", options | constraints),
        ("sample", sampling | constraints),
        ("routing", {"inputs": one}),
        ("score", {"sources": one, "targets": one}),
        ("tokenize", {"inputs": one}),
        ("detokenize", {"ids": tf.constant([[4, 5, 2]])}),
    ]
    if not target_languages:
        return found
    return _in_languages(found, target_languages) + [
        (
            "serving_default",
            {"inputs": one, "target_language": tf.constant([language])},
        )
        for language in target_languages
    ]


def _in_languages(requests, languages):
    """The same requests, their strings into one language after the other."""
    asked = []
    for name, tensors in requests:
        if name not in TEXT_SIGNATURES:
            size = tf.size(next(iter(tensors.values())))
            cycle = itertools.islice(itertools.cycle(languages), int(size))
            tensors = tensors | {"target_language": tf.constant([*cycle])}
        asked.append((name, tensors))
    return asked


def write_requests(folder, requests):
    """Writes the requests into a version of a SavedModel.

    Args:
        folder: `pathlib.Path` of the version.
        requests: List of `(signature name, dict of tensors)`.

    Raises:
        NoServingApi: if the package is missing; nothing is written.
    """
    try:
        from tensorflow_serving.apis import (
            model_pb2,
            predict_pb2,
            prediction_log_pb2,
        )
    except ImportError as error:
        raise NoServingApi(
            "Warm-up requests need tensorflow-serving-api: "
            "pip install 'moe-keras[serving]'."
        ) from error
    file = folder / FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for name, tensors in requests:
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(signature_name=name),
                inputs={
                    key: tf.make_tensor_proto(value.numpy(), value.dtype)
                    for key, value in tensors.items()
                },
            )
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
