"""JSON of TensorFlow Serving's REST interface."""

import json

import numpy as np
import pytest

from server.errors import ServingError
from server.json_tensors import format_answer, parse_request
from server.signature import Signature, Tensor

TEXT = Tensor("inputs", "string", (None,))
WIDTH = Tensor("beam_width", "int32", (None,))
PENALTY = Tensor("penalty", "float32", (None,))
IDS = Tensor("ids", "int32", (None, None))
LANGUAGE = Tensor(
    "language", "string", (None,), default=np.array([b"fr"], object)
)
SIGNATURES = {
    "serving_default": Signature("serving_default", {"inputs": TEXT}, {}),
    "options": Signature(
        "options",
        {"inputs": TEXT, "beam_width": WIDTH, "penalty": PENALTY},
        {},
    ),
    "detokenize": Signature("detokenize", {"ids": IDS}, {}),
    "into": Signature("into", {"inputs": TEXT, "language": LANGUAGE}, {}),
}


def parse(asked):
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    return parse_request(body, SIGNATURES.__getitem__)


def columns(asked):
    return {name: x.tolist() for name, x in parse(asked).columns.items()}


class TestRequests:
    def test_rows_of_the_only_input(self):
        asked = parse({"instances": ["a dog", {"b64": "/w=="}]})
        assert asked.signature.name == "serving_default"
        assert asked.columns["inputs"].tolist() == [b"a dog", b"\xff"]
        assert asked.in_rows

    def test_rows_of_names(self):
        rows = [
            {"inputs": "a", "beam_width": 2, "penalty": 1},
            {"inputs": "b", "beam_width": 3, "penalty": 0.5},
        ]
        assert columns({"signature_name": "options", "instances": rows}) == {
            "inputs": [b"a", b"b"],
            "beam_width": [2, 3],
            "penalty": [1.0, 0.5],
        }

    def test_columns_may_differ_in_length(self):
        inputs = {"inputs": ["a", "b"], "beam_width": [2], "penalty": [1]}
        asked = parse({"signature_name": "options", "inputs": inputs})
        assert not asked.in_rows
        assert [len(x) for x in asked.columns.values()] == [2, 1, 1]

    def test_column_of_the_only_input(self):
        assert columns({"inputs": ["a"]}) == {"inputs": [b"a"]}
        asked = {"signature_name": "detokenize", "inputs": [[4, 5], [6, 2]]}
        assert columns(asked) == {"ids": [[4, 5], [6, 2]]}

    @pytest.mark.parametrize(
        "asked, languages",
        [
            ({"instances": ["a", "b"]}, [b"fr"]),
            ({"inputs": ["a", "b"]}, [b"fr"]),
            ({"inputs": {"inputs": ["a", "b"]}}, [b"fr"]),
            (
                {"inputs": {"inputs": ["a", "b"], "language": ["de", ""]}},
                [b"de", b""],
            ),
            (
                {"instances": [{"inputs": "a"}, {"inputs": "b"}]},
                [b"fr"],
            ),
            (
                {
                    "instances": [
                        {"inputs": "a"},
                        {"inputs": "b", "language": "de"},
                    ]
                },
                [b"fr", b"de"],
            ),
        ],
    )
    def test_an_input_with_a_default_may_be_left_out(self, asked, languages):
        assert columns({"signature_name": "into", **asked}) == {
            "inputs": [b"a", b"b"],
            "language": languages,
        }

    def test_nothing_is_an_empty_column_of_any_rank(self):
        assert columns({"inputs": []}) == {"inputs": []}
        asked = {"signature_name": "detokenize", "inputs": []}
        assert parse(asked).columns["ids"].shape == (0, 0)

    def test_half_a_surrogate_pair_is_bytes_that_are_not_utf8(self):
        asked = parse(b'{"instances": ["a \\ud83d dog"]}')
        assert asked.columns["inputs"][0] == b"a \xed\xa0\xbd dog"

    def test_text_keeps_zeros_and_blanks_at_its_end(self):
        assert columns({"inputs": ["a\0 \0"]}) == {"inputs": [b"a\0 \0"]}

    @pytest.mark.parametrize(
        "asked, said",
        [
            (b"", "JSON Parse error: The document is empty"),
            (b"{", "JSON Parse error: "),
            (b"\xff", "JSON Parse error: "),
            (b"[" * 100_000, "JSON Parse error: "),
            (b'{"inputs": [' + b"9" * 5000 + b"]}", "JSON Parse error: "),
            ([1], "JSON Value: [1] Is not object"),
            ({}, "Missing 'inputs' or 'instances' key"),
            (
                {"inputs": ["a"], "instances": ["a"]},
                "only one of 'inputs' or 'instances' keys",
            ),
            ({"instances": []}, "No values in 'instances' array"),
            ({"instances": "a"}, "Excepting 'instances' to be an list/array"),
            (
                {"signature_name": 3, "inputs": ["a"]},
                "'signature_name' key must be a string value.",
            ),
            (
                {"instances": ["a", 3]},
                "JSON Value: 3 Type: Number is not of expected type: string",
            ),
            (
                {"instances": ["a", {"inputs": "a"}]},
                "Expecting value/list but got object at item 1",
            ),
            (
                {"instances": [{"inputs": "a"}, "a"]},
                "Expecting object but got list at item 1",
            ),
            ({"instances": [{"b64": "?"}]}, "Unable to base64 decode"),
            (
                {"signature_name": "options", "inputs": ["a"]},
                "inputs is a plain value/list, but expecting an object",
            ),
            (
                {"signature_name": "options", "instances": ["a"]},
                "instances is a plain list, but expecting list of objects",
            ),
            (
                {"signature_name": "options", "inputs": {"inputs": ["a"]}},
                "Missing named input: beam_width in 'inputs' object.",
            ),
            (
                {"signature_name": "options", "instances": [{"inputs": "a"}]},
                "keys must be equal to: beam_width,inputs,penalty",
            ),
            (
                {"signature_name": "into", "inputs": {"language": ["de"]}},
                "Missing named input: inputs in 'inputs' object.",
            ),
            (
                {"signature_name": "into", "instances": [{"language": "de"}]},
                "keys must be equal to: inputs,language",
            ),
            (
                {"signature_name": "detokenize", "inputs": [[4], [5, 6]]},
                "unexpected size: 2 at level: 1 expected size: 1",
            ),
            (
                {"signature_name": "detokenize", "inputs": [4]},
                "Tensor ids expects shape [-1,-1]. Received: [1]",
            ),
            (
                {"signature_name": "detokenize", "inputs": [[4.5]]},
                "JSON Value: 4.5 Type: Number is not of expected type: int32",
            ),
            (
                {"signature_name": "detokenize", "inputs": [[True]]},
                "JSON Value: true Type: True is not of expected type: int32",
            ),
            (
                {"signature_name": "detokenize", "inputs": [[2**31]]},
                "A value of ids is outside of int32",
            ),
            ({"inputs": [["a"]]}, "Tensor inputs expects shape [-1]."),
            ({"inputs": ["a", ["b"]]}, "Encountered list at unexpected level"),
            ({"inputs": [None]}, "Type: Null is not of expected type: string"),
        ],
    )
    def test_what_is_wrong_is_said(self, asked, said):
        with pytest.raises(ServingError) as caught:
            parse(asked)
        assert caught.value.status == 400
        assert said in caught.value.message
        assert len(caught.value.message) <= 500

    def test_numbers_beyond_float32_are_infinite(self):
        inputs = {"inputs": ["a"], "beam_width": [1], "penalty": [1e300]}
        found = columns({"signature_name": "options", "inputs": inputs})
        assert found["penalty"] == [np.inf]


class TestAnswers:
    OUTPUTS = {
        "outputs": np.array(
            [[b"Hund", b""], [b"Caf\xc3\xa9", b"\xff"]], object
        ),
        "scores": np.array([-0.1, -3.4028235e38], np.float32),
    }

    def test_rows(self):
        assert json.loads(format_answer(self.OUTPUTS, True)) == {
            "predictions": [
                {"outputs": ["Hund", ""], "scores": -0.1},
                {"outputs": ["Café", {"b64": "/w=="}], "scores": -3.4028235e38},
            ]
        }

    def test_columns(self):
        assert json.loads(format_answer(self.OUTPUTS, False))["outputs"] == {
            "outputs": [["Hund", ""], ["Café", {"b64": "/w=="}]],
            "scores": [-0.1, -3.4028235e38],
        }

    def test_the_only_output_has_no_name(self):
        only = {"outputs": np.array([b"x", b"y"], object)}
        assert json.loads(format_answer(only, True)) == {
            "predictions": ["x", "y"]
        }
        assert json.loads(format_answer(only, False)) == {"outputs": ["x", "y"]}

    def test_names_that_end_in_bytes_are_always_in_base64(self):
        only = {"image_bytes": np.array([b"x"], object)}
        assert json.loads(format_answer(only, True)) == {
            "predictions": [{"b64": "eA=="}]
        }

    def test_rows_of_unlike_outputs_are_refused(self):
        with pytest.raises(ServingError, match="Ask for columns"):
            format_answer({"a": np.zeros(2), "b": np.zeros(3)}, True)

    def test_numbers_are_the_shortest_that_give_the_same_float32(self):
        values = np.random.default_rng(0).normal(size=50).astype("float32")
        body = format_answer({"x": values}, False)
        assert (np.float32(json.loads(body)["outputs"]) == values).all()
        assert max(len(x) for x in body.decode().split(",")[1:-1]) <= 16
