"""The report: one page that needs nothing else."""

import base64
import dataclasses
import html.parser
import re
import sys

import numpy as np
import pytest

from moe_keras.analysis import RoutedTokens, study_layer, write_studies
from moe_keras.monitoring import Judge, Thresholds, WindowFile, make_window
from moe_keras.report import ReportError, write_report
from moe_keras.report.__main__ import main


def _write_windows(folder):
    """A layer that stays even, and one that collapses on two of four."""
    judges = {name: Judge(Thresholds()) for name in ("good", "<bad>")}
    file = WindowFile(folder)
    for step in range(10, 60, 10):
        lost = min(20 * step, 1000)
        loads = {
            "good": [1000] * 4,
            "<bad>": [1000 + lost, 1000 + lost, 1000 - lost, 1000 - lost],
        }
        for name, load in loads.items():
            window = make_window(
                name, step, 10, 2000, load, changed_share=None, gate_gradient=1
            )
            verdict = judges[name].judge(window)
            file.append([dataclasses.replace(window, verdict=verdict)])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of `_write_windows`: its pictures take seconds to draw."""
    folder = tmp_path_factory.mktemp("run")
    _write_windows(folder)
    return write_report(folder)


class _Page(html.parser.HTMLParser):
    """Images, links and other things that a page would load."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.open, self.text = [], [], text
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [
            v for k, v in attributes if k in ("src", "srcset", "href")
        ]
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_has_everything_in_itself(path):
    assert path.name == "report.html"
    page = _Page(path.read_text("utf-8"))
    assert not page.open  # every tag is closed
    # Two pictures for each layer, light and dark, wide and narrow.
    assert len(page.sources) == 16
    assert all(s.startswith("data:image/png;base64,") for s in page.sources)
    assert not re.search(r"https?:|url\(|@import|<script", page.text)


def test_verdicts_and_their_reasons_are_on_the_page(path):
    text = path.read_text("utf-8")
    assert "&lt;bad&gt;" in text and "<bad>" not in text
    assert '<span class="collapsed">collapsed</span> (step 50)' in text
    assert "spread of load 0.000, threshold 0.100. Try: " in text
    assert '<span class="healthy">healthy</span> (step 10)' in text


def test_figures_that_gates_tell_have_rows_of_their_own(tmp_path):
    # 512 of 2,000 tokens have no expert; the other gate tells its mass.
    for name, told in (
        ("chosen", {"tokens_without_expert": 512.0}),
        ("massive", {"mass": 1500.0}),
    ):
        window = make_window(name, 10, 10, 2000, [1000] * 4, gate_metrics=told)
        WindowFile(tmp_path).append([window])
    text = write_report(tmp_path).read_text("utf-8")
    heads = re.findall(r"<th scope=[^>]*>([^<]*)</th>", text)
    assert heads[-3:] == ["last window", "chosen", "massive"]
    rows = {
        row.split("</td>")[0]: re.findall(r"number\">([^<]*)</td>", row)
        for row in text.splitlines()
        if row.startswith("<tr><td>")
    }
    assert rows["<tr><td>tokens without expert"] == ["0.256", "-"]
    assert rows["<tr><td>mass"] == ["-", "0.75"]
    assert rows["<tr><td>max/mean load"] == ["1", "1"]


def test_pictures_of_all_looks_are_unlike(path):
    text = path.read_text("utf-8")
    found = re.findall(r"<picture>.*?</picture>", text, re.DOTALL)
    assert len(found) == 4
    for picture in found:
        media = re.findall(r'media="([^"]*)"', picture)
        assert media == [
            "(max-width: 40em) and (prefers-color-scheme: dark)",
            "(max-width: 40em)",
            "(prefers-color-scheme: dark)",
        ]
        data = re.findall(r"base64,([^\"]*)", picture)
        assert len(set(data)) == 4
    # The width in pixels is in bytes 16 to 20 of a PNG: 9 and 4.5 inches.
    widths = [int.from_bytes(base64.b64decode(x)[16:20], "big") for x in data]
    assert widths == [495, 495, 990, 990]


def test_legends_cover_no_curve():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from moe_keras.report import plots

    windows = [make_window("moe", s, 1, 8, [4, 4, 4, 4]) for s in (1, 2)]
    for look in plots.LOOKS:
        figure = plots.curves(windows, look)
        FigureCanvasAgg(figure)
        figure.canvas.draw()
        for axes in figure.axes:
            legend = axes.get_legend().get_window_extent()
            assert legend.y0 >= axes.get_window_extent().y1
            assert legend.x1 <= figure.bbox.x1


def test_last_verdict_stays_where_the_last_window_is_too_short(tmp_path):
    _write_windows(tmp_path)
    short = make_window("<bad>", 51, 1, 4, [1, 1, 1, 1])
    WindowFile(tmp_path).append([short])
    text = write_report(tmp_path).read_text("utf-8")
    (row,) = (
        line
        for line in text.splitlines()
        if line.startswith("<tr><td>&lt;bad&gt;") and "span" in line
    )
    assert row.count(">collapsed</span> (step 50)") == 2  # last and worst


def test_gate_may_tell_a_figure_by_the_name_of_a_field():
    from moe_keras.report import plots

    windows = [
        make_window(
            "moe", step, 1, 8, [4, 4, 4, 4], gate_metrics={"load": 2.0 * step}
        )
        for step in (1, 2)
    ]
    axes = plots.curves(windows).axes[-1]
    assert axes.get_ylabel() == "told by the gate"
    (line,) = axes.get_lines()
    assert line.get_ydata().tolist() == [0.25, 0.5]


def test_curve_of_a_single_window_can_be_seen():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from moe_keras.report import plots

    window = make_window("moe", 10, 10, 8, [4, 4, 4, 4])
    figure = plots.curves([window])
    FigureCanvasAgg(figure)
    axes = figure.axes[0]
    axes.get_legend().remove()
    for line in axes.get_lines():
        line.set_color("red")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    assert (pixels == [255, 0, 0]).all(axis=-1).sum() > 4


def test_program_writes_where_it_is_told(tmp_path, capsys):
    _write_windows(tmp_path)
    main([str(tmp_path), f"--output={tmp_path / 'page.html'}"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").exists()


def test_folder_without_windows_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match="error: Nothing to report in .*"):
        main([str(tmp_path)])


def test_missing_matplotlib_names_the_command(tmp_path, monkeypatch):
    _write_windows(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "moe_keras.report.plots", raising=False)
    monkeypatch.delattr("moe_keras.report.plots", raising=False)
    with pytest.raises(ReportError, match=r"pip install 'moe-keras\[plots\]'"):
        write_report(tmp_path)


def _write_studies(folder):
    routed = RoutedTokens(num_experts=3)
    for _ in range(20):
        routed.add(["<a>", "do$g"], [[0], [1]], [[0.9], [0.4]])
    write_studies(folder, [study_layer("moe <1>", routed)], "words & more")


def test_experts_are_on_the_page(tmp_path):
    _write_studies(tmp_path)  # and no routing.jsonl
    page = _Page(write_report(tmp_path).read_text("utf-8"))
    assert not page.open
    assert len(page.sources) == 4  # one picture in four looks
    text = page.text
    assert "<h2>What the experts learnt: words &amp; more</h2>" in text
    assert "<h3>moe &lt;1&gt;</h3>" in text and "<a>" not in text
    # The token decides the expert: 1 bit of 1, and half of the tokens each.
    assert "<tr><td>token</td><td>1.0000</td>" in text
    assert "<td>&lt;a&gt; 0.90 (100 %)</td>" in text
    assert "<li>0.400 &lt;a&gt; <b>do$g</b> </li>" in text
