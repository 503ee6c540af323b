"""Who may ask; what browsers are told; where it may listen."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from server.run import ServeOptions
from server.security import Guard, SecurityHeaders

TOKEN = "0123456789abcdef"


def ask(path="/v1/models/nmt", token=None, only_local=True, **headers):
    """Status and headers of a request through both layers."""
    app = Guard(PlainTextResponse("in"), token, only_local, ("/", "/healthz"))
    headers = {"host": "localhost:8501"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(SecurityHeaders(app)(scope, None, send))
    told = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], told


class TestToken:
    def test_the_right_one_is_asked_for(self):
        assert ask(token=TOKEN)[0] == 401
        assert ask(token=TOKEN)[1]["www-authenticate"] == "Bearer"
        assert ask(token=TOKEN, authorization=f"Bearer {TOKEN}")[0] == 200
        assert ask(token=TOKEN, authorization=f"bearer {TOKEN}")[0] == 200

    @pytest.mark.parametrize(
        "header",
        ["Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xff"],
    )
    def test_others_stay_out(self, header):
        assert ask(token=TOKEN, authorization=header)[0] == 401

    def test_probes_and_the_page_need_none(self):
        assert ask("/healthz", token=TOKEN)[0] == 200
        assert ask("/", token=TOKEN)[0] == 200
        assert ask("/healthz/../v1/models/nmt", token=TOKEN)[0] == 401

    def test_without_one_nothing_is_asked(self):
        assert ask()[0] == 200
        assert ask(only_local=False, host="10.0.0.7:8501")[0] == 200


class TestSites:
    """Pages of others in a browser on this machine."""

    @pytest.mark.parametrize(
        "host", ["localhost", "127.0.0.1:8501", "[::1]:8501", "127.9.9.9"]
    )
    def test_names_of_this_machine(self, host):
        assert ask(host=host)[0] == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example"]
    )
    def test_a_name_that_leads_here_is_refused(self, host):
        assert ask(host=host)[0] == 403
        # With a token it may have any name: it is not guessed.
        authorized = {"token": TOKEN, "authorization": f"Bearer {TOKEN}"}
        assert ask(host=host, **authorized)[0] == 200

    def test_requests_of_other_sites_are_refused(self):
        assert ask(origin="http://localhost:8501")[0] == 200
        assert ask(origin="http://localhost:9999")[0] == 403
        assert ask(origin="null")[0] == 403
        assert ask(sec_fetch_site="cross-site")[0] == 403
        assert ask(sec_fetch_site="same-origin")[0] == 200
        assert ask(sec_fetch_site="none")[0] == 200
        link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
        assert ask("/", **link)[0] == 200


def test_every_answer_has_the_headers():
    for status, told in (ask(), ask(token=TOKEN), ask(host="evil.example")):
        policy = told["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, status
        assert told["x-content-type-options"] == "nosniff"
        assert told["cache-control"] == "no-store"


class TestListening:
    def test_beyond_this_machine_needs_a_token_or_a_word(self):
        for host in ("0.0.0.0", "::", "192.168.0.7", "example.com"):
            with pytest.raises(ValueError, match="--open to let everybody in"):
                ServeOptions("runs/mine", host=host)
            ServeOptions("runs/mine", host=host, token=TOKEN)
            ServeOptions("runs/mine", host=host, open=True)

    def test_this_machine_needs_neither(self):
        for host in ("localhost", "127.0.0.1", "::1"):
            ServeOptions("runs/mine", host=host)
