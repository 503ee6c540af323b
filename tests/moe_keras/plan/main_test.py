"""The planner's program: what it prints, and what it refuses."""

import json

import pytest

from moe_keras.plan import read_model
from moe_keras.plan.__main__ import main


def _run(capsys, *flags):
    """Exit code and output of the program."""
    with pytest.raises(SystemExit) as ended:
        main(flags)
    return ended.value.code, capsys.readouterr().out


def test_program_prints_the_papers_total_and_the_layout(capsys):
    code, printed = _run(
        capsys, "--preset=moe_131072_h", "--devices=128", "--memory_gb=40"
    )
    assert code == 0
    assert "137.6 B without embedding and softmax" in printed
    assert "Take: replicas, experts shared out" in printed


def test_program_knows_mixtral(capsys):
    code, printed = _run(capsys, "--preset=mixtral_8x7b")
    assert code == 0
    assert "mixtral_8x7b: 46.7 B parameters" in printed
    assert "for a token: 12.9 B parameters" in printed
    assert "32 x MoE of 8 experts 4096 -> 14336 -> 4096, gated" in printed


def test_program_says_how_many_devices_would_do(capsys):
    code, printed = _run(
        capsys, "--preset=moe_131072_h", "--devices=4", "--memory_gb=40"
    )
    assert code == 1
    assert "No layout of 4 devices fits 40 GB" in printed
    assert "128 devices would do." in printed


def test_program_says_when_no_number_of_devices_is_enough(capsys):
    _, printed = _run(
        capsys, "--preset=moe_4096_h", "--devices=16", "--memory_gb=1"
    )
    assert "No number of devices is enough" in printed


def test_program_tells_the_time_of_a_step(capsys):
    speed = "--teraflops=1.6", "--network_gb_s=1.25", "--memory_gb_s=200"
    code, printed = _run(
        capsys, "--preset=moe_65536_h", "--optimizer=factored_adam", *speed
    )
    assert code == 0
    assert "step s    TFLOPS" in printed and "A step takes 4." in printed
    _, printed = _run(capsys, "--preset=moe_4", *speed, "--json")
    [first, *_] = json.loads(printed)["layouts"]
    seconds = first["step_seconds"]
    parts = ("products", "exchange", "reduce", "weights")
    assert seconds["total"] == pytest.approx(sum(seconds[x] for x in parts))
    with pytest.raises(SystemExit, match="needs all of --teraflops"):
        main(["--preset=moe_4", "--teraflops=1"])


def test_dense_model_has_one_layout(capsys):
    code, printed = _run(capsys, "--preset=4xlstm_512")
    assert code == 0 and "Take: replicas\n" in printed
    assert "mesh" not in printed and "shared out" not in printed


def test_json_has_all_layouts_in_bytes(capsys, tmp_path):
    path = tmp_path / "sizes.json"
    layer = {"depth": 4, "hidden_dim": 8, "num_experts": 6, "k": 2}
    path.write_text(json.dumps({"moe": [layer], "tokens": 12}))
    _, printed = _run(capsys, f"--config={path}", "--devices=3", "--json")
    values = json.loads(printed)
    assert values["model"] == "sizes" and values["take"]
    # Experts 6 * 2 * 4 * 8, gate and noise 2 * 4 * 6.
    assert values["parameters"] == 384 + 48
    shared = next(x for x in values["layouts"] if "shared" in x["name"])
    assert shared["first_device"]["expert_weights"] == 4 * 384 / 3
    assert shared["exchange_bytes"] == 4 * 2 * 12 * 4 * 4 * 2 / 3


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "cannot be read"),
        ("{}", 'neither "moe" nor "model"'),
        ('{"moe": [{"depth": 4}], "tokens": 1}', "hidden_dim"),
        ('{"moe": [], "dense": {}}', "'tokens' is missing"),
        ('{"model": {}, "loop": {}}', "'batches' is missing"),
    ],
)
def test_files_that_describe_no_model_are_refused(text, said, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_model(path)
    with pytest.raises(SystemExit, match="error: .*model.json"):
        main([f"--config={path}"])
