"""The clients and configuration files of docs/serving.md.

Clients are tried on a server of our own with the interfaces of TensorFlow
Serving; its configuration files are read by its own protocol buffers.
"""

import base64
import json
import pathlib
import re
import urllib.request

import pytest
import table_model
import tensorflow as tf

from translation.search.beam_options import BeamOptions
from translation.serving.served import NO_SCORE, ServedTranslator
from translation.text.tokenizer.training import train_tokenizer

PAGE = pathlib.Path(table_model.__file__).parents[1] / "docs/serving.md"


def blocks(language):
    """Blocks of code of the page."""
    pattern = rf"^```{language}[^\n]*\n(.*?)^```"
    return re.findall(pattern, PAGE.read_text(), re.MULTILINE | re.DOTALL)


def client(word):
    """The block of Python that has this word."""
    (block,) = (x for x in blocks("python") if word in x)
    return block


@pytest.fixture(scope="module")
def served():
    tokenizer = train_tokenizer(table_model.SENTENCES, 290)
    model = table_model.Table(tokenizer.vocab_size)
    served = ServedTranslator(model, tokenizer, BeamOptions(3))
    served.signatures = _Named(served.signatures())
    return served


class _Named(dict):
    """Signatures as a loaded model has them: called by names of inputs."""

    def __init__(self, functions):
        super().__init__(
            (name, _Function(function)) for name, function in functions.items()
        )


class _Function:
    def __init__(self, function):
        self._function = function
        specs, _ = function.structured_input_signature
        named = {spec.name: spec for spec in specs}
        self.structured_input_signature = ((), named)

    def __call__(self, **inputs):
        _, named = self.structured_input_signature
        return self._function(*(inputs[name] for name in named))


@pytest.fixture(scope="module")
def ports(served):
    pytest.importorskip("tensorflow_serving")
    from predict_server import serve

    with serve(served, "translator") as ports:
        yield ports


def run(code, ports):
    rest, grpc = ports
    code = code.replace("localhost:8501", f"localhost:{rest}")
    names = {}
    exec(code.replace("localhost:8500", f"localhost:{grpc}"), names)
    return names


class TestClients:
    def test_rest(self, served, ports, capsys):
        names = run(client("urllib"), ports)
        first, second = capsys.readouterr().out.splitlines()
        texts = tf.constant(["Where is the station?", ""])
        expected = served.translate(texts)["outputs"].numpy()
        assert eval(first)["outputs"] == [x.decode() for x in expected]
        assert len(eval(second)["outputs"][0]) == 3
        broken = {"b64": base64.b64encode(b"a \xff dog").decode()}
        found = names["predict"]("translate_nbest", inputs=[broken, " "])
        assert found["outputs"][1] == ["", "", ""]
        assert found["scores"][1] == [0.0, NO_SCORE, NO_SCORE]

    def test_rows_as_the_command_line_sends_them(self, served, ports):
        (block,) = (x for x in blocks("sh") if "instances" in x)
        data, url = re.search(r"-d '(.*)' \\\n +(\S+)", block).groups()
        url = "http://" + url.replace("8501", str(ports[0]))
        with urllib.request.urlopen(url, data.encode()) as response:
            (row,) = json.load(response)["predictions"]
        texts = tf.constant(json.loads(data)["instances"])
        assert row["outputs"].encode() == served.translate(texts)["outputs"][0]

    def test_grpc(self, served, ports, capsys):
        names = run(client("grpc"), ports)
        names["channel"].close()
        lines = capsys.readouterr().out.splitlines()
        texts = tf.constant(["Where is the station?"])
        expected = served.translate_nbest(texts)["outputs"].numpy()[0]
        said = [line.split(" ", 1)[1] for line in lines]
        assert said == [x.decode() for x in expected]


class TestConfiguration:
    def test_the_server_can_read_which_models_it_serves(self):
        config = pytest.importorskip(
            "tensorflow_serving.config.model_server_config_pb2"
        )
        from google.protobuf import text_format

        texts = [x for x in blocks("proto") if "model_config_list" in x]
        assert len(texts) == 2
        for text in texts:
            read = text_format.Parse(text, config.ModelServerConfig())
            (model,) = read.model_config_list.config
            assert model.name == "translator"
            policy = model.model_version_policy
            assert policy.WhichOneof("policy_choice")
            pinned = set(policy.specific.versions)
            assert set(model.version_labels.values()) == pinned

    def test_its_paths_are_those_of_the_command(self):
        (command,) = (x for x in blocks("sh") if "docker run" in x)
        mounted = set(re.findall(r'-v "[^:]*:([^:]*):ro"', command))
        named = re.findall(r'base_path: "([^"]*)"', PAGE.read_text())
        named += [
            x.rsplit("/", 1)[0] for x in re.findall(r"_file=(\S+)", command)
        ]
        assert set(named) == mounted
