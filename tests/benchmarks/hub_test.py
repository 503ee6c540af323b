"""The benchmark of keras-hub's models: what it says of the times it took."""

import json

import pytest


def test_speedup_is_that_of_the_faster_of_each_two(load):
    hub, interleaved = load("hub"), load("interleaved")
    wall = {
        "keras-hub": [8.0, 9.0, 8.0],
        "keras-hub, XLA": [6.0, 6.0, 6.0],  # the faster of keras-hub's
        "sparse": [3.0, 4.0, 3.0],
        "sparse, XLA": [2.0, 2.0, 30.0],  # the faster of ours
    }
    times = {name: interleaved.Times(each, each) for name, each in wall.items()}
    row = hub.make_row("mixtral", "generate", times, {"sparse": 1.0})
    # By rounds: 6 / 2, 6 / 2, 6 / 30; and without XLA 6 / 3, 6 / 4, 6 / 3.
    assert row["speedup"] == pytest.approx(3)
    assert row["speedup_without_xla"] == pytest.approx(2)
    assert row["median_ms"]["keras-hub"] == 8000
    assert row["best_ms"]["sparse, XLA"] == 2000
    assert row["median_processor_ms"]["keras-hub, XLA"] == 6000


def test_an_unknown_family_is_refused(load, capsys):
    with pytest.raises(SystemExit):
        load("hub").main(["--families=mixtral,llama"])
    assert "unknown: {'llama'}" in capsys.readouterr().err


@pytest.mark.slow
def test_it_times_all_that_it_promises(load, tmp_path):
    load("hub").main(
        [
            "--families=one_expert,gemma4",
            "--rounds=1",
            "--prompt=6",
            "--tokens=2",
            "--scale=0.125",
            f"--json={tmp_path / 'hub.json'}",
        ]
    )
    figures = json.loads((tmp_path / "hub.json").read_text())
    assert figures["machine"]["keras-hub"].startswith("0.32")
    assert figures["machine"]["processor"]
    assert [(row["family"], row["what"]) for row in figures["rows"]] == [
        (family, what)
        for family in ("one_expert", "gemma4")
        for what in ("prefill", "token", "generate", "step")
    ]
    for row in figures["rows"]:
        assert set(row["same_tokens"].values()) == {1.0}
        assert min(row["best_ms"].values()) > 0
