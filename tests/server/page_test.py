"""The page in a real browser, against a small model.

Marked `browser`: it needs chromium, as of `apt-get install chromium`, and
`pip install 'moe-keras[browser]'`. Without them these tests are skipped; in
`.ci/run` they are not.
"""

import json

import pytest
from small_browser import NEEDS_CHROMIUM, SIZES, faults
from small_served import EXPERTS, Continuing, Polyglot, save_version, serving

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The folder of a run whose exports are `Capitals`."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.json").write_text("{}")
    window = {"layer": "moe", "load": [4.0, 3.0, 2.0, 1.0]}
    (folder / "routing.jsonl").write_text(json.dumps(window) + "\n")
    experts = [
        {"expert": e, "tokens": [{"token": f"\u2581typical{e}"}]}
        for e in range(EXPERTS)
    ]
    study = {"corpus": "x", "layers": [{"layer": "moe", "experts": experts}]}
    (folder / "experts.json").write_text(json.dumps(study))
    save_version(folder / "export", 1)
    return folder


class Page:
    """A page of the browser, and what went wrong on it."""

    def __init__(self, browser, port, size="wide", scheme="light"):
        self.context = browser.new_context(
            viewport=SIZES[size], color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.faults, self.hosts = [], set()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "request", lambda request: self.hosts.add(request.url.split("/")[2])
        )
        self.host = f"127.0.0.1:{port}"
        self.page.goto(f"http://{self.host}/")

    def _on_console(self, message):
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def check(self):
        """Nothing went wrong, and nobody else was asked."""
        assert self.faults == []
        assert self.hosts == {self.host}

    def texts(self, selector):
        return self.page.locator(selector).all_inner_texts()


@pytest.fixture(scope="module")
def port(run_folder):
    with serving(run_folder, name="nmt") as (client, _, _):
        yield client.port


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("polyglot")
    card = {
        "directions": ["en-fr", "en-de", "en-xx"],
        "target_languages": list(Polyglot.languages),
        "examples": [
            {"source": "a cat", "target": "de"},
            {"source": "a cat", "target": "xx"},
            {"source": "a cow", "target": "xx"},
        ],
    }
    save_version(folder, 1, Polyglot(), card)
    with serving(folder, name="nmt") as (client, _, _):
        yield client.port


@pytest.fixture(params=list(SIZES))
def opened(browser, port, request):
    opened = Page(browser, port, request.param)
    yield opened
    opened.context.close()


def type_text(opened, text="a dog\nthree cats"):
    opened.page.fill("#input", text)
    opened.page.wait_for_selector("#target-words button")


class TestTranslating:
    def test_lines_are_translated_as_one_types(self, opened):
        type_text(opened)
        assert opened.texts("#output button") == ["A DOG", "THREE CATS"]
        assert opened.page.inner_text("#status").startswith("2 lines, ")
        opened.page.fill("#input", "")
        opened.page.wait_for_selector("#routing", state="hidden")
        assert opened.texts("#output button") == []
        opened.check()

    def test_only_the_last_of_many_keys_is_asked_for(self, opened):
        asked = []
        opened.page.on("request", lambda r: asked.append(r.method))
        opened.page.locator("#input").press_sequentially("a dog", delay=20)
        opened.page.wait_for_selector("#target-words button")
        assert asked.count("POST") == 1

    def test_markup_is_text(self, opened):
        type_text(opened, "<img/src=x/onerror=alert(1)> <b>dog</b>")
        assert "<B>DOG</B>" in opened.texts("#output button")[0]
        assert opened.page.locator("#view-try img").count() == 0
        opened.check()

    def test_an_error_is_told_and_the_next_text_works(self, opened):
        opened.page.fill("#input", "a\n" * 300)
        opened.page.wait_for_selector("#status.error")
        assert "--max_rows" in opened.page.inner_text("#status")
        type_text(opened)
        assert opened.page.locator("#status.error").count() == 0


class TestStarting:
    def test_the_page_waits_for_a_model_that_is_being_loaded(
        self, browser, port
    ):
        context = browser.new_context()
        page = context.new_page()
        loading = {"error": "Model nmt is being loaded"}
        refusals = iter(range(2))

        def answer(route):
            if next(refusals, None) is None:
                route.continue_()
            else:
                route.fulfill(status=503, json=loading)

        page.route("**/about", answer)
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#status.error")
        assert page.inner_text("#status") == loading["error"]
        page.wait_for_selector("#title:text-is('nmt')")
        assert page.inner_text("#status") == ""
        context.close()


class TestSeeing:
    def test_aligned_words_light_up(self, opened):
        type_text(opened, "a dog barks")
        source = opened.page.locator("#source-words button")
        opened.page.focus("#target-words button:nth-child(1)")
        opened.page.keyboard.press("ArrowRight")
        # The alignment of this model is the identity.
        assert opened.page.inner_text("#aligned") == "Aligned with dog (100 %)"
        weights = [
            source.nth(i).evaluate("x => x.style.getPropertyValue('--weight')")
            for i in range(3)
        ]
        assert list(map(float, weights)) == [0.0, 1.0, 0.0]
        source.nth(2).hover()
        aligned = opened.page.inner_text("#aligned")
        assert aligned == "Aligned with barks (100 %)"

    def test_subwords_have_the_numbers_and_colours_of_experts(self, opened):
        type_text(opened, "a dog dig")
        chips = opened.page.locator("#sides .chips").first.locator(".chip")
        # The expert of a word is that of its length.
        texts = [
            " ".join(x.split()).replace(" ,", ",")
            for x in chips.all_inner_texts()
        ]
        assert texts == ["·a, expert 1", "·dog, expert 3", "·dig, expert 3"]
        colours = [
            chips.nth(i).evaluate("x => getComputedStyle(x).backgroundColor")
            for i in range(3)
        ]
        assert colours[0] != colours[1] == colours[2]

    def test_experts_and_gates_on_demand(self, opened):
        type_text(opened, "a dog")
        chip = opened.page.locator("#sides .chip").nth(1)
        chip.focus()
        opened.page.keyboard.press("Enter")
        detail = opened.page.inner_text("#source-detail")
        for said in ("Expert 3", "0.750", "Expert 0", "0.250", "typical3"):
            assert said in detail
        assert chip.get_attribute("aria-expanded") == "true"
        opened.page.keyboard.press("Enter")
        assert opened.page.is_hidden("#source-detail")

    def test_load_of_the_text_beside_that_of_training(self, opened):
        type_text(opened, "a dog")  # experts 1, 2 and 3, 0
        rows = opened.page.locator("#sides table").first.locator("tbody tr")
        cells = [row.split("\t") for row in rows.all_inner_texts()]
        shares = [[x.strip() for x in cells[i] if "%" in x] for i in range(4)]
        assert shares == [
            ["25.0 %", "40.0 %"],
            ["25.0 %", "30.0 %"],
            ["25.0 %", "20.0 %"],
            ["25.0 %", "10.0 %"],
        ]


class TestAccess:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("size", list(SIZES))
    def test_no_fault_that_axe_finds(self, browser, port, size, scheme):
        opened = Page(browser, port, size, scheme)
        type_text(opened)
        opened.page.click("#sides .chip")
        opened.page.hover("#target-words button")
        assert faults(opened.page) == []
        opened.check()
        opened.context.close()

    def test_nothing_runs_out_of_the_window(self, opened):
        type_text(opened, "a dog " + "x" * 300)
        width = "[document.documentElement.scrollWidth, window.innerWidth]"
        scroll, inner = opened.page.evaluate(width)
        assert scroll <= inner

    def test_all_of_it_by_the_keyboard(self, opened):
        type_text(opened)
        opened.page.focus("#tab-try")
        seen = set()
        for _ in range(20):
            opened.page.keyboard.press("Tab")
            seen.add(
                opened.page.evaluate(
                    "document.activeElement.closest('[id]')?.id"
                )
            )
        assert {"input", "output", "source-words", "target-words"} <= seen
        assert "sides" in seen


class TestLanguageModel:
    def test_texts_are_continued_with_probabilities_and_experts(
        self, browser, tmp_path
    ):
        save_version(tmp_path, 1, Continuing())
        with serving(tmp_path, name=None) as (client, service, _):
            assert service.name == "lm"
            opened = Page(browser, client.port)
            opened.page.wait_for_selector("#times")  # an option that it has
            opened.page.fill("#times", "2")
            opened.page.fill("#input", "a dog")
            opened.page.wait_for_selector("#sides .chip")
            (text,) = opened.texts("#output button")
            assert text == "a dog and so on and so on"
            chips = opened.texts("#sides .chip")
            assert len(chips) == 8  # of the whole text
            assert all("25 %" in chip and "expert" in chip for chip in chips)
            assert opened.page.is_hidden("#alternatives")
            assert faults(opened.page) == []
            opened.check()
            opened.context.close()


class TestLanguages:
    def test_one_chooses_into_which_language(self, browser, polyglot):
        opened = Page(browser, polyglot)
        type_text(opened, "a dog")
        assert opened.texts("#target_language option") == [
            "French (fr)",
            "German (de)",
            "xx (xx)",
        ]
        assert opened.texts("#output button") == ["fr A DOG"]
        opened.page.click("#alternatives summary")
        opened.page.wait_for_selector("#alternatives-list li")
        opened.page.select_option("#target_language", "de")
        opened.page.wait_for_selector("#output button:has-text('de A DOG')")
        other = "#alternatives-list li:has-text('de a dog')"
        opened.page.wait_for_selector(other)  # n-best asks for it too
        # Experts are shown in any language, and so is what it stands for.
        chips = opened.page.locator("#sides .chips").first.locator(".chip")
        assert "<2de>" in chips.first.inner_text()
        assert opened.texts("#source-words button") == ["a", "dog"]
        opened.page.focus("#target-words button:nth-child(2)")
        assert opened.page.inner_text("#aligned") == "Aligned with dog (100 %)"
        assert opened.page.inner_text("#facts").startswith("3 directions")
        assert faults(opened.page) == []
        opened.check()
        opened.context.close()

    def test_an_example_goes_into_its_language(self, browser, polyglot):
        opened = Page(browser, polyglot)
        opened.page.wait_for_selector(".examples button")
        assert opened.texts(".examples button") == ["a cat", "a cow"]
        opened.page.click(".examples button:has-text('a cow')")
        opened.page.wait_for_selector("#output button:has-text('xx A COW')")
        opened.check()
        opened.context.close()

    def test_a_model_of_one_language_has_no_choice(self, opened):
        type_text(opened)
        assert opened.page.locator("#target_language").count() == 0


class TestReport:
    def test_it_is_shown_or_the_reason_why_not(self, opened):
        opened.page.click("#tab-report")
        # This run's windows are no real ones: the reason is told.
        opened.page.wait_for_selector("#report-status:has-text('rror')")
        assert opened.page.is_hidden("#view-try")


class TestToken:
    def test_it_is_asked_for_and_used(self, browser, run_folder):
        with serving(run_folder, name="nmt", token="a-token") as (client, *_):
            opened = Page(browser, client.port)
            opened.page.wait_for_selector("#token")
            opened.page.fill("#token", "a-token")
            opened.page.keyboard.press("Enter")
            opened.page.wait_for_selector("#token-form", state="hidden")
            type_text(opened)
            assert opened.texts("#output button")[0] == "A DOG"
            opened.context.close()
