"""Takes the pictures of the page that the documents show.

    python -m trainers.serve runs/mine &
    python benchmarks/page_pictures.py --url=http://127.0.0.1:8501/

Needs chromium and `pip install 'moe-keras[browser,plots]'`. Writes
docs/images/page.png, wide and light, and docs/images/page_phone.png, narrow and
dark.
"""

import argparse
import io
import os
import pathlib
import shutil

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = pathlib.Path(__file__).parents[1] / "docs/images"
TEXT = (
    "Where is the station?\nThe old teacher buys a book because she is tired."
)
PICTURES = (
    ("page.png", {"width": 1000, "height": 1060}, "light"),
    ("page_phone.png", {"width": 390, "height": 1000}, "dark"),
)


def take(browser, url, size, scheme):
    """Returns a picture of the page with `TEXT` translated, as PNG."""
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(url)
    page.fill("#input", TEXT)
    page.click("#output li:nth-child(2) button")
    page.click("#sides .chip:nth-child(3)")
    page.hover("#target-words button:nth-child(3)")
    return page.screenshot()


def few_colours(png):
    """The same picture in a palette: a fifth of the bytes."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    return picture.quantize(64, dither=Image.Dither.NONE)


def main():
    """Takes both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8501/")
    url = parser.parse_args().url
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        for name, size, scheme in PICTURES:
            picture = few_colours(take(browser, url, size, scheme))
            picture.save(IMAGES / name, optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
