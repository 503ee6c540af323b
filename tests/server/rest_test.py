"""A small SavedModel behind the server, asked over HTTP."""

import base64
import gzip
import json
import logging
import socket
import threading

import pytest
from small_served import Polyglot, save_version, serving, wait_until

from server.batcher import BatchOptions
from server.limits import Limits

PATH = "/v1/models/capitals"
SPIN = {"instances": ["spin"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    save_version(folder, 1)
    return folder


@pytest.fixture(scope="module")
def served(folder):
    limits = Limits(max_body_bytes=50_000, max_rows=10, max_characters=100)
    with serving(folder, limits=limits) as found:
        yield found


@pytest.fixture
def client(served):
    return served[0]


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("polyglot")
    card = {
        "directions": ["en-fr", "en-de"],
        "target_languages": ["fr", "de"],
    }
    save_version(folder, 1, Polyglot(), card)
    with serving(folder, sample=1.0) as found:
        yield found


class TestPredict:
    def test_rows_and_columns(self, client):
        assert client.predict({"instances": ["ein Hund", "ä"]}) == (
            200,
            {
                "predictions": [
                    {"outputs": "EIN HUND", "scores": 2.0},
                    {"outputs": "Ä", "scores": 2.0},
                ]
            },
        )
        assert client.predict({"inputs": ["x"]}) == (
            200,
            {"outputs": {"outputs": ["X"], "scores": [1.0]}},
        )

    def test_other_signatures_and_versions(self, client):
        asked = {
            "signature_name": "translate_with_options",
            "inputs": {"inputs": ["a", "b"], "beam_width": [3]},
        }
        for path in (f"{PATH}:predict", f"{PATH}/versions/1:predict"):
            status, answer = client.predict(asked, path)
            assert status == 200
            assert answer["outputs"]["outputs"] == ["a 3", "b 3"]

    def test_bytes_that_are_no_text(self, client):
        text = {"b64": base64.b64encode(b"a \xff").decode()}
        _, answer = client.predict({"instances": [text]})
        # `upper` reads them as U+FFFD.
        assert answer["predictions"][0]["outputs"] == "A \ufffd"

    def test_no_rows(self, client):
        assert client.predict({"inputs": []}) == (
            200,
            {"outputs": {"outputs": [], "scores": []}},
        )

    def test_gzip(self, client):
        body = gzip.compress(json.dumps({"instances": ["x"]}).encode())
        headers = {"Content-Encoding": "gzip"}
        assert client.ask(f"{PATH}:predict", body, headers)[0] == 200


class TestErrors:
    @pytest.mark.parametrize(
        "path, body, status, said",
        [
            (f"{PATH}:predict", b"{", 400, "JSON Parse error"),
            (f"{PATH}:predict", {"instances": ["bad"]}, 400, "a bad text"),
            (
                f"{PATH}:predict",
                {"signature_name": "no", "instances": ["x"]},
                400,
                'Serving signature name: "no" not found in signature def',
            ),
            (
                "/v1/models/other:predict",
                {"instances": ["x"]},
                404,
                "Servable not found for request: Latest(other)",
            ),
            (
                f"{PATH}/versions/7:predict",
                {"instances": ["x"]},
                404,
                "Servable not found for request: Specific(capitals, 7)",
            ),
            (
                f"{PATH}/versions/{10**19}:predict",
                {"instances": ["x"]},
                400,
                "to numeric",
            ),
            (
                f"{PATH}/labels/canary:predict",
                {"instances": ["x"]},
                400,
                "Unrecognized servable version label: canary",
            ),
            (f"{PATH}:classify", {}, 400, "Malformed request: POST /v1/models"),
            (f"{PATH}:predict", None, 400, "Malformed request: GET /v1/models"),
            (f"{PATH}/versions/7", None, 404, "Could not find version 7"),
            ("/v1/models/other", None, 404, "this server has capitals"),
            ("/nowhere", None, 404, "nothing at this path"),
            ("/../../etc/passwd", None, 404, "nothing at this path"),
            ("/static/..%2f..%2fsetup.py", None, 404, "nothing at this path"),
            (
                f"{PATH}:predict",
                {"instances": ["x"] * 11},
                400,
                "the limit of a request is 10 (--max_rows)",
            ),
            (
                f"{PATH}:predict",
                {"instances": ["x" * 101]},
                400,
                "100 characters (--max_characters)",
            ),
            (
                f"{PATH}:predict",
                {"instances": ["x" * 60_000]},
                413,
                "50000 bytes (--max_body_bytes)",
            ),
        ],
    )
    def test_status_and_message(self, client, path, body, status, said):
        found, headers, answer = client.ask(path, body)
        assert found == status
        assert headers["Content-Type"] == "application/json"
        assert said in json.loads(answer)["error"]

    def test_other_methods(self, client):
        assert client.ask(f"{PATH}:predict", b"", method="DELETE")[0] == 405

    def test_what_is_no_http_ends_its_connection_alone(self, client):
        with socket.create_connection(("127.0.0.1", client.port)) as raw:
            raw.sendall(b"\x16\x03\x01 no http\r\n\r\n")
            assert raw.recv(1000).startswith(b"HTTP/1.1 400")
        assert client.predict({"instances": ["x"]})[0] == 200


class TestStatus:
    def test_states(self, client):
        for path in (PATH, f"{PATH}/versions/1"):
            status, _, answer = client.ask(path)
            assert status == 200
            assert json.loads(answer) == {
                "model_version_status": [
                    {
                        "version": "1",
                        "state": "AVAILABLE",
                        "status": {"error_code": "OK", "error_message": ""},
                    }
                ]
            }

    def test_metadata(self, client):
        _, _, answer = client.ask(f"{PATH}/metadata")
        found = json.loads(answer)
        assert found["model_spec"] == {
            "name": "capitals",
            "signature_name": "",
            "version": "1",
        }
        functions = found["metadata"]["signature_def"]["signature_def"]
        assert set(functions) == {
            "serving_default",
            "translate_nbest",
            "translate_with_options",
            "tokenize",
            "routing",
        }
        inputs = functions["serving_default"]["inputs"]["inputs"]
        assert inputs["dtype"] == "DT_STRING"
        assert inputs["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]

    def test_probes(self, client):
        assert client.ask("/healthz")[0] == 200
        assert client.ask("/readyz")[0] == 200


class TestLoad:
    def test_requests_that_wait_share_calls(self, served):
        client, service, _ = served
        found = []

        def ask():
            found.append(client.predict({"instances": ["x"]}))

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [status for status, _ in found] == [200] * 40
        rows = [answer["predictions"][0]["scores"] for _, answer in found]
        assert max(rows) > 1

    def test_time_out_and_full_queue(self, folder):
        options = BatchOptions(max_waiting=1)
        with serving(folder, batching=options, limits=Limits(timeout=1.5)) as (
            client,
            service,
            _,
        ):
            spinning = threading.Thread(target=client.predict, args=(SPIN,))
            spinning.start()
            wait_until(lambda: not service.batcher.is_idle)
            waiting = []
            second = threading.Thread(
                target=lambda: waiting.append(
                    client.predict({"instances": ["x"]})
                )
            )
            second.start()
            wait_until(lambda: service.batcher.waiting_rows == 1)
            status, headers, answer = client.ask(
                f"{PATH}:predict", {"instances": ["y"]}
            )
            assert status == 429
            assert int(headers["Retry-After"]) >= 1
            assert "The queue is full" in json.loads(answer)["error"]
            spinning.join()
            second.join()
            # The call of the first ended with it, a minute too early.
            wait_until(lambda: service.batcher.is_idle, seconds=10)
            assert waiting[0][0] in (200, 504)
            assert client.predict({"instances": ["x"]})[0] == 200

    def test_a_client_that_hangs_up_ends_its_call(self, served):
        client, service, lines = served
        body = json.dumps(SPIN).encode()
        head = (
            f"POST {PATH}:predict HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", client.port)) as raw:
            raw.sendall(head.encode() + body)
            wait_until(lambda: not service.batcher.is_idle)
        wait_until(lambda: service.batcher.is_idle, seconds=10)
        wait_until(lambda: any(line["status"] == 499 for line in lines))


class TestVersions:
    def test_no_request_fails_at_a_switch(self, tmp_path):
        save_version(tmp_path, 1)
        found, stop = [], threading.Event()
        with serving(tmp_path, poll_seconds=0.05) as (client, service, _):

            def ask():
                while not stop.is_set():
                    found.append(client.predict({"instances": ["x"]})[0])

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for number in (2, 3):
                aside = save_version(tmp_path, f"unfinished-{number}")
                aside.rename(tmp_path / str(number))
                wait_until(
                    lambda n=number: service.versions.current.number == n
                )
            (tmp_path / "4").mkdir()
            (tmp_path / "4/saved_model.pb").write_bytes(b"no model")
            wait_until(lambda: service.versions.statuses()[0]["version"] == "4")
            wait_until(lambda: service.versions.statuses()[0]["state"] == "END")
            assert service.versions.current.number == 3
            stop.set()
            for thread in threads:
                thread.join()
            _, _, metrics = client.ask("/metrics")
        assert len(found) > 20 and set(found) == {200}
        assert b'moe_serve_version{version="3"} 1.0' in metrics
        assert b"moe_serve_broken_versions_total 1.0" in metrics


class TestLogAndMetrics:
    SECRET = "geheimnis"

    def test_a_line_has_sizes_and_no_texts(self, served, caplog):
        client, _, lines = served
        caplog.set_level(logging.DEBUG)
        before = len(lines)
        body = json.dumps({"instances": [self.SECRET, "x"]}).encode()
        client.ask(f"{PATH}:predict?{self.SECRET}", body)
        client.ask(f"/{self.SECRET}")
        client.ask(f"/v1/models/{self.SECRET}")
        wait_until(lambda: len(lines) == before + 3)
        line = lines[before]
        assert line["route"] == "predict" and line["status"] == 200
        assert line["rows"] == 2 and line["bytes_in"] == len(body)
        assert line["signature"] == "serving_default" and line["ms"] > 0
        assert self.SECRET not in json.dumps(lines) + caplog.text

    def test_an_error_of_ours_is_told_by_its_place(self, served, monkeypatch):
        client, service, lines = served

        def fail(*args):
            raise KeyError(self.SECRET)

        monkeypatch.setattr(service._rest, "_status", fail)
        status, _, answer = client.ask(PATH)
        assert (status, json.loads(answer)) == (
            500,
            {"error": "Internal error"},
        )
        wait_until(lambda: lines[-1]["status"] == 500)
        assert lines[-1]["error"] == "KeyError" and lines[-1]["places"]
        assert self.SECRET not in json.dumps(lines)

    def test_counts(self, folder):
        with serving(folder, sample=0.0) as (client, _, _):
            for _ in range(3):
                client.predict({"instances": ["one two", "three"]})
            client.predict({"instances": ["bad"]})
            asked = {"signature_name": "routing", "inputs": ["a bb"]}
            assert client.predict(asked)[0] == 200

            def metric(line):
                return line in client.ask("/metrics")[2].decode()

            # Words of 1 and 2 letters go to experts 1 and 2, and 2 and 3; the
            # same on both sides.
            expert = 'moe_serve_expert_tokens_total{{expert="{}",layer="moe"}}'
            assert metric(expert.format(1) + " 2.0")
            assert metric(expert.format(2) + " 4.0")
            assert metric(expert.format(3) + " 2.0")
            # 3 x 3 words of `translate` and 2 of `routing`, in and out.
            tokens = 'moe_serve_tokens_total{{direction="{}"}} 11.0'
            wait_until(lambda: metric(tokens.format("out")))
            assert metric(tokens.format("in"))
            labels = 'route="predict",signature="serving_default"'
            assert metric(
                f'moe_serve_requests_total{{code="200",{labels}}} 3.0'
            )
            assert metric(
                f'moe_serve_requests_total{{code="400",{labels}}} 1.0'
            )
            assert metric("moe_serve_call_rows_count 5.0")
            assert metric("moe_serve_waiting_rows 0.0")

    def test_the_load_of_experts_is_sampled_from_other_requests(self, folder):
        with serving(folder, sample=1.0) as (client, _, _):
            client.predict({"instances": ["aaa"]})
            expert = b'moe_serve_expert_tokens_total{expert="3",layer="moe"}'
            wait_until(lambda: expert in client.ask("/metrics")[2])


def test_a_token_is_asked_for(folder):
    with serving(folder, token="secret-token") as (client, _, _):
        asked = {"instances": ["x"]}
        assert client.predict(asked)[0] == 401
        assert client.ask("/metrics")[0] == 401
        assert client.ask("/readyz")[0] == 200
        headers = {"Authorization": "Bearer secret-token"}
        assert client.ask(f"{PATH}:predict", asked, headers)[0] == 200


class TestLanguages:
    """A model that is asked for a language, which requests may leave out."""

    @pytest.mark.parametrize(
        "asked, texts",
        [
            ({"instances": ["a"]}, ["fr A"]),
            ({"inputs": ["a", "b"]}, ["fr A", "fr B"]),
            ({"inputs": []}, []),
            (
                {"inputs": {"inputs": ["a", "b"], "target_language": ["de"]}},
                ["de A", "de B"],
            ),
            (
                {
                    "instances": [
                        {"inputs": "a", "target_language": "de"},
                        {"inputs": "b"},
                    ]
                },
                ["de A", "fr B"],
            ),
        ],
    )
    def test_each_row_has_its_language_or_the_default(
        self, polyglot, asked, texts
    ):
        status, answer = polyglot[0].predict(asked)
        assert status == 200, answer
        if "instances" in asked:
            found = [row["outputs"] for row in answer["predictions"]]
        else:
            found = answer["outputs"]["outputs"]
        assert found == texts

    def test_languages_share_a_call_and_are_not_mixed_up(self, polyglot):
        client, service, _ = polyglot
        found = {}

        def ask(number):
            text, language = f"text {number}", "fr de xx".split()[number % 3]
            asked = {"inputs": [text], "target_language": [language]}
            if number % 3 == 0:  # as it is by default
                del asked["target_language"]
            _, answer = client.predict({"inputs": asked})
            found[number] = (
                answer["outputs"]["outputs"],
                [f"{language} {text.upper()}"],
                answer["outputs"]["scores"][0],
            )

        def ask_together():
            threads = [
                threading.Thread(target=ask, args=[n]) for n in range(60)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(found) == 60
            for outputs, expected, _ in found.values():
                assert outputs == expected
            # `scores` are the rows of a call: whether some were shared.
            return max(rows for *_, rows in found.values()) > 1

        # On a busy machine requests may come one by one.
        assert any(ask_together() for _ in range(20))

    def test_metadata_and_about_tell_the_languages(self, polyglot):
        client, _, _ = polyglot
        _, _, body = client.ask(f"{PATH}/metadata")
        signatures = json.loads(body)["metadata"]["signature_def"]
        default = signatures["signature_def"]["serving_default"]["defaults"]
        assert default["target_language"]["dtype"] == "DT_STRING"
        assert "defaults" in signatures["signature_def"]["tokenize"]
        about = json.loads(client.ask("/about")[2])
        assert about["target_languages"] == ["fr", "de"]
        assert about["directions"] == ["en-fr", "en-de"]

    def test_experts_are_counted(self, polyglot, caplog):
        client, _, _ = polyglot
        asked = {"inputs": ["one two"], "target_language": ["de"]}
        assert client.predict({"inputs": asked})[0] == 200

        def is_counted():
            text = client.ask("/metrics")[2].decode()
            return "moe_serve_expert_tokens_total{" in text

        wait_until(is_counted)
        assert "Counting" not in caplog.text
