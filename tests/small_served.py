"""A small SavedModel whose answers can be told beforehand, behind a server.

It answers a text with its capitals. Some words do something else: `spin` turns
a loop for about a minute, `bad` raises an error.
"""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time

import tensorflow as tf
import tensorflow_text  # noqa: F401  as the server does it

from server.app import Service
from server.model_folder import find_model
from server.run import make_server
from translation.serving.optional_inputs import with_defaults

EXPERTS = 4
_STRINGS = tf.TensorSpec([None], tf.string, "inputs")
_LANGUAGE = tf.TensorSpec([None], tf.string, "target_language")
_WIDTHS = tf.TensorSpec([None], tf.int32, "beam_width")


class Capitals(tf.Module):
    """Has the signatures of a translator whose results depend on little.

    `scores` is the number of rows of the call: what shares a call can be seen.
    """

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def translate(self, inputs):
        tf.debugging.assert_equal(
            tf.reduce_any(tf.strings.regex_full_match(inputs, ".*bad.*")),
            False,
            "a bad text",
        )
        spins = tf.reduce_any(tf.strings.regex_full_match(inputs, ".*spin.*"))
        turns = tf.where(spins, 30_000_000, 0)
        (end,) = tf.while_loop(
            lambda i: i < turns, lambda i: (i + 1,), (tf.constant(0),)
        )
        size = tf.size(inputs)
        with tf.control_dependencies([end]):
            scores = tf.fill([size], tf.cast(size, tf.float32))
        return {"outputs": tf.strings.upper(inputs, "utf-8"), "scores": scores}

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def translate_nbest(self, inputs):
        """The capitals, and the text itself as the second best."""
        outputs = [tf.strings.upper(inputs, "utf-8"), inputs]
        scores = tf.tile([[-0.5, -1.5]], [tf.size(inputs), 1])
        return {"outputs": tf.stack(outputs, 1), "scores": scores}

    @tf.function(input_signature=[_STRINGS, _WIDTHS], autograph=False)
    def with_width(self, inputs, beam_width):
        widths = tf.broadcast_to(beam_width, tf.shape(inputs))
        size = tf.cast(tf.size(inputs), tf.float32)
        return {
            "outputs": tf.strings.join([inputs, tf.as_string(widths)], " "),
            "scores": tf.fill(tf.shape(inputs), size),
        }

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def tokenize(self, inputs):
        words = tf.strings.split(inputs)
        lengths = tf.cast(words.row_lengths(), tf.int32)
        return {"tokens": words.to_tensor(""), "lengths": lengths}

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def routing(self, inputs):
        """Each word goes to the expert of its length, and to the next one."""
        words = tf.strings.split(inputs)
        length = tf.strings.length(words.to_tensor(""))
        tokens = tf.strings.join(["\u2581", words]).to_tensor("")
        first = tf.where(length > 0, length % EXPERTS, -1)
        second = tf.where(length > 0, (length + 1) % EXPERTS, -1)
        experts = tf.stack([first, second], -1)[:, :, tf.newaxis]
        gates = tf.where(experts >= 0, tf.constant([0.75, 0.25]), 0.0)
        rows, length = tf.unstack(tf.shape(tokens))
        found = {
            "tokens": tokens,
            "lengths": tf.cast(words.row_lengths(), tf.int32),
            "experts": experts,
            "gates": gates,
            "layers": tf.fill([rows, 1], "moe"),
            "num_experts": tf.fill([rows, 1], EXPERTS),
        }
        sides = {
            f"{side}_{name}": tf.identity(x)
            for side in ("source", "target")
            for name, x in found.items()
        }
        return {
            "outputs": tf.strings.upper(inputs, "utf-8"),
            "scores": tf.zeros([rows]),
            "alignments": tf.eye(length, batch_shape=[rows]),
            **sides,
        }

    def signatures(self):
        return {
            "serving_default": self.translate,
            "translate_nbest": self.translate_nbest,
            "translate_with_options": self.with_width,
            "tokenize": self.tokenize,
            "routing": self.routing,
        }


class Continuing(tf.Module):
    """Has the signatures of a language model: says "and so on" so many times.

    Every subword has a probability of a quarter.
    """

    def __init__(self):
        super().__init__()
        self._capitals = Capitals()

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def generate(self, inputs):
        return self.generate_with_options(inputs, tf.constant([1]))

    @tf.function(
        input_signature=[_STRINGS, tf.TensorSpec([None], tf.int32, "times")],
        autograph=False,
    )
    def generate_with_options(self, inputs, times):
        more = tf.strings.reduce_join(tf.repeat([" and so on"], times[0]))
        size = tf.size(inputs)
        lengths = tf.fill([size], 3 * times[0])
        return {
            "outputs": tf.strings.join([inputs, tf.fill([size], more)]),
            "lengths": lengths,
            "tokens": tf.tile(
                [["\u2581and", "\u2581so", "\u2581on"]], [size, times[0]]
            ),
        }

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def routing(self, inputs):
        found = self._capitals.routing(inputs)
        quarter = tf.math.log(0.25) + tf.zeros(tf.shape(found["target_tokens"]))
        sides = {k: x for k, x in found.items() if k.startswith("target")}
        return {"token_log_probs": quarter, **sides}

    def signatures(self):
        return {
            "serving_default": self.generate,
            "generate_with_options": self.generate_with_options,
            "routing": self.routing,
        }


class Polyglot(tf.Module):
    """`Capitals` that is asked for a language, which it puts in front.

    Requests may leave the language out, which is the first one then.
    """

    languages = ("fr", "de", "xx")

    def __init__(self):
        super().__init__()
        self._capitals = Capitals()

    def _function(self, method):
        function = getattr(self._capitals, method).python_function

        def into(inputs, target_language):
            language = tf.broadcast_to(target_language, tf.shape(inputs))
            language = tf.where(language == "", self.languages[0], language)
            found = function(inputs)
            rank = found["outputs"].shape.rank
            first = language if rank == 1 else language[:, tf.newaxis]
            found["outputs"] = first + " " + found["outputs"]
            if "source_tokens" in found:
                self._read_language(found, language)
            return found

        return tf.function(
            into, input_signature=[_STRINGS, _LANGUAGE], autograph=False
        ).get_concrete_function()

    @staticmethod
    def _read_language(found, language):
        """The source begins with the language, to which nothing attends."""
        first = tf.strings.join(["<2", language, ">"])[:, tf.newaxis]
        found["source_tokens"] = tf.concat([first, found["source_tokens"]], 1)
        found["source_lengths"] += 1
        for name in ("source_experts", "source_gates"):
            found[name] = tf.concat([found[name][:, :1], found[name]], axis=1)
        found["alignments"] = tf.pad(
            found["alignments"], [[0, 0], [0, 0], [1, 0]]
        )

    def signatures(self):
        functions = {
            "serving_default": self._function("translate"),
            "translate_nbest": self._function("translate_nbest"),
            "routing": self._function("routing"),
        }
        found = with_defaults(functions, {"target_language": [""]})
        return {**found, "tokenize": self._capitals.tokenize}


def save_version(folder, number, model=None, card=None):
    """Saves a model, or `Capitals`, as a version; returns its path."""
    model = model or Capitals()
    path = folder / str(number)
    tf.saved_model.save(model, str(path), signatures=model.signatures())
    if card is not None:
        (path / "assets.extra").mkdir()
        (path / "assets.extra/card.json").write_text(json.dumps(card))
    return path


class Client:
    """Talks to a server on this machine, over one connection."""

    def __init__(self, port):
        self.port = port

    def ask(self, path, body=None, headers=(), method=None):
        """Sends a request; returns status, headers and body.

        A body that is not bytes is sent as JSON.
        """
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=60
        )
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        method = method or ("GET" if body is None else "POST")
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def predict(self, body, path="/v1/models/capitals:predict"):
        """Sends a prediction; returns status and the JSON of the answer."""
        status, _, answer = self.ask(path, body)
        return status, json.loads(answer)


@contextlib.contextmanager
def serving(model_dir, name="capitals", **options):
    """Context manager: serves a folder from a thread, on a free port.

    Args:
        model_dir: path.
        name: str.
        **options: Arguments of `Service`.

    Yields:
        `Client`, `Service`, and the list of lines of the access log.
    """
    lines = []
    service = Service(
        find_model(model_dir), name, write=lines.append, **options
    )
    server = make_server(service.app, drain_seconds=10)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener]))
        )
        thread.start()
        try:
            wait_until(lambda: service.versions.current is not None, 300)
            yield Client(listener.getsockname()[1]), service, lines
        finally:
            server.should_exit = True
            thread.join()


def wait_until(is_so, seconds=60.0):
    """Waits until something is so; an error if that takes too long."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"Not so after {seconds} s.")
        time.sleep(0.01)
