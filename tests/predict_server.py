"""A SavedModel behind the two interfaces of TensorFlow Serving, in little.

Enough of `Predict` to try clients on: rows and columns over REST, tensors
over gRPC; nothing is joined, warmed up or watched.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


@contextlib.contextmanager
def serve(loaded, name):
    """Serves on free ports of this machine.

    Args:
        loaded: What `tf.saved_model.load` gave.
        name: str. The name of the model.

    Yields:
        `(rest_port, grpc_port)`.
    """
    rest = http.server.ThreadingHTTPServer(
        ("localhost", 0), _rest_handler(loaded, name)
    )
    thread = threading.Thread(target=rest.serve_forever)
    thread.start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Service(loaded, name), server
        )
        port = server.add_insecure_port("localhost:0")
        server.start()
        try:
            yield rest.server_address[1], port
        finally:
            server.stop(None).wait()
            rest.shutdown()
            rest.server_close()
            thread.join()


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


def _rest_handler(loaded, name):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            size = int(self.headers["Content-Length"])
            asked = json.loads(self.rfile.read(size))
            is_here = self.path == f"/v1/models/{name}:predict"
            answer = _predict(loaded, asked) if is_here else {"error": name}
            body = json.dumps(answer, allow_nan=False).encode()
            self.send_response(200 if is_here else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    return Handler


def _predict(loaded, asked):
    """The answer to a request in rows or in columns, as dicts."""
    signature = asked.get("signature_name", "serving_default")
    function = loaded.signatures[signature]
    _, specs = function.structured_input_signature
    columns = asked.get("inputs")
    if columns is None:
        rows = asked["instances"]
        if len(specs) == 1:
            (only,) = specs
            rows = [{only: row} for row in rows]
        columns = {key: [row[key] for row in rows] for key in specs}
    elif not isinstance(columns, dict):
        (only,) = specs
        columns = {only: columns}
    found = function(
        **{
            key: tf.constant(_decoded(columns[key]), spec.dtype)
            for key, spec in specs.items()
        }
    )
    outputs = {
        key: json.loads(json.dumps(x.numpy().tolist(), default=bytes.decode))
        for key, x in found.items()
    }
    if "inputs" in asked:
        return {"outputs": outputs}
    names, rows = list(outputs), zip(*outputs.values(), strict=True)
    return {"predictions": [dict(zip(names, r, strict=True)) for r in rows]}


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value
