"""Reads the requests that a version runs before it takes traffic."""

import pathlib

import tensorflow as tf

FILE = "assets.extra/tf_serving_warmup_requests"


def read_requests(path):
    """Yields the warm-up requests of a version, as TensorFlow Serving has them.

    Args:
        path: str or path of the version's folder.

    Yields:
        Name of the signature and dict of arrays by names of inputs.

    Raises:
        ImportError: if there are requests, and `tensorflow-serving-api`, which
            defines their messages, is not installed.
    """
    file = pathlib.Path(path) / FILE
    if not file.is_file():
        return
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        name = request.model_spec.signature_name or "serving_default"
        yield (
            name,
            {
                key: tf.make_ndarray(proto)
                for key, proto in request.inputs.items()
            },
        )
