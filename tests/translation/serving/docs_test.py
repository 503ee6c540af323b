"""The clients and configuration files of docs/serving.md.

Clients are tried on our server, and for gRPC on a small one with the interface
of TensorFlow Serving; its configuration files are read by its own protocol
buffers.
"""

import base64
import json
import pathlib
import re
import urllib.request

import pytest
import small_served
import table_model
import tensorflow as tf

from translation.search.beam_options import BeamOptions
from translation.serving.export import export_translator
from translation.serving.served_model import NO_SCORE
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
def folder(tmp_path_factory):
    """A folder with an exported version."""
    tokenizer = train_tokenizer(table_model.SENTENCES, 290)
    model = table_model.Table(tokenizer.vocab_size)
    folder = tmp_path_factory.mktemp("export")
    export_translator(model, tokenizer, folder, BeamOptions(3))
    return folder


@pytest.fixture(scope="module")
def served(folder):
    return tf.saved_model.load(str(folder / "1"))


@pytest.fixture(scope="module")
def ports(folder, served):
    pytest.importorskip("tensorflow_serving")
    from predict_server import serve

    with small_served.serving(folder, name=None) as (client, _, _):
        with serve(served, "nmt") as grpc_port:
            yield client.port, grpc_port


def run(code, ports):
    rest, grpc = ports
    code = code.replace("localhost:8501", f"localhost:{rest}")
    names = {}
    exec(code.replace("localhost:8500", f"localhost:{grpc}"), names)
    return names


def translated(served, texts, signature="serving_default"):
    found = served.signatures[signature](inputs=tf.constant(texts))
    return found["outputs"].numpy()


class TestClients:
    def test_rest(self, served, ports, capsys):
        names = run(client("urllib"), ports)
        first, second = capsys.readouterr().out.splitlines()
        expected = translated(served, ["Where is the station?", ""])
        assert eval(first)["outputs"] == [x.decode() for x in expected]
        assert len(eval(second)["outputs"][0]) == 3
        broken = {"b64": base64.b64encode(b"a \xff dog").decode()}
        found = names["predict"]("translate_nbest", inputs=[broken, " "])
        assert found["outputs"][1] == ["", "", ""]
        assert found["scores"][1] == [0.0, NO_SCORE, NO_SCORE]

    def test_rows_as_the_command_line_sends_them(self, served, ports):
        rows = [x for x in blocks("sh") if "instances" in x]
        (block,) = (x for x in rows if "target_language" not in x)
        data, url = re.search(r"-d '(.*)' \\\n +(\S+)", block).groups()
        url = "http://" + url.replace("8501", str(ports[0]))
        with urllib.request.urlopen(url, data.encode()) as response:
            (row,) = json.load(response)["predictions"]
        (expected,) = translated(served, json.loads(data)["instances"])
        assert row["outputs"].encode() == expected

    def test_grpc(self, served, ports, capsys):
        names = run(client("grpc"), ports)
        names["channel"].close()
        lines = capsys.readouterr().out.splitlines()
        texts = ["Where is the station?"]
        (expected,) = translated(served, texts, "translate_nbest")
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
            assert model.name == "nmt"
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
