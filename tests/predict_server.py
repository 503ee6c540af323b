"""A SavedModel behind the gRPC interface of TensorFlow Serving, in little.

Enough of `Predict` to try clients on; nothing is joined, warmed up or watched.
REST is what `server` is for.
"""

import concurrent.futures
import contextlib

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


@contextlib.contextmanager
def serve(loaded, name):
    """Context manager: serves on a free port of this machine.

    Args:
        loaded: What `tf.saved_model.load` gave.
        name: str. The name of the model.

    Yields:
        The port.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Service(loaded, name), server
        )
        port = server.add_insecure_port("localhost:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, loaded, name):
        self._loaded, self._name = loaded, name

    def Predict(self, request, context):
        if request.model_spec.name != self._name:
            context.abort(grpc.StatusCode.NOT_FOUND, request.model_spec.name)
        signature = request.model_spec.signature_name or "serving_default"
        inputs = {
            key: tf.constant(tf.make_ndarray(proto))
            for key, proto in request.inputs.items()
        }
        found = self._loaded.signatures[signature](**inputs)
        return predict_pb2.PredictResponse(
            outputs={
                key: tf.make_tensor_proto(value.numpy(), value.dtype)
                for key, value in found.items()
            }
        )
