"""The report in a real browser: narrow and wide, light and dark."""

import pytest
from small_browser import NEEDS_CHROMIUM, SIZES, faults

from moe_keras.analysis import RoutedTokens, study_layer, write_studies
from moe_keras.monitoring import WindowFile, make_window
from moe_keras.report import write_report

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A report with several layers of long names, and all of its sections."""
    folder = tmp_path_factory.mktemp("run")
    names = [f"encoder_moe_{i}_layer" for i in range(2)]
    for name in names:
        for step in (10, 20):
            window = make_window(name, step, 10, 2000, [1000] * 4)
            WindowFile(folder).append([window])
    routed = RoutedTokens(num_experts=3)
    for _ in range(20):
        routed.add(["a", "dog"], [[0], [1]], [[0.9], [0.4]])
    write_studies(folder, [study_layer(names[0], routed)], "words")
    return write_report(folder)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen(browser, path, size, scheme):
    page = browser.new_page(viewport=SIZES[size], color_scheme=scheme)
    page.goto(path.as_uri())
    scroll, inner = page.evaluate(
        "[document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert scroll <= inner
    assert faults(page) == []
    wide = page.evaluate("document.querySelector('img').naturalWidth")
    assert wide == {"phone": 495, "wide": 990}[size]
    ground = page.evaluate(
        "getComputedStyle(document.querySelector('.report')).backgroundColor"
    )
    dark, light = "rgb(20, 23, 26)", "rgb(255, 255, 255)"
    assert ground == (dark if scheme == "dark" else light)
    page.close()
