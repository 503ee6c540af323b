"""The benchmark of efficiency prints a row for each mixture."""

import pytest

pytestmark = pytest.mark.slow


def test_row_tells_both_times_the_papers_and_the_tokens_of_an_expert(
    load, capsys
):
    words = "--mixtures moe_4 moe_32 --tokens=64 --rounds=1"
    load("efficiency").main(words.split())
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    names, walls, processors, papers, tokens = zip(
        *([cell.strip() for cell in row[1:-1]] for row in rows[2:]), strict=True
    )
    assert names == ("moe_4", "moe_32")
    assert all(float(time) > 0 for time in walls + processors)
    assert papers == ("0.40", "0.67")  # 0.52 and 0.87 TFLOPS over 1.29
    assert tokens == ("64", "8")  # 4 * 64 / 4 and 4 * 64 / 32
