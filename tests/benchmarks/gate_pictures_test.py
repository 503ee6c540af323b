"""The pictures of the gates, drawn small."""

import importlib.util
import pathlib
import xml.etree.ElementTree

import numpy as np
import pytest

import moe_keras

ROOT = pathlib.Path(moe_keras.__file__).parents[1]


@pytest.fixture(scope="module")
def program():
    path = ROOT / "benchmarks" / "gate_pictures.py"
    spec = importlib.util.spec_from_file_location("gate_pictures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gates_start_with_an_uneven_load(program):
    batch, _ = program.Task().batch()
    # Of the two preferred experts, one group, a hierarchical gate with one
    # expert in each of two groups gives a token only one.
    for name, share in (
        ("TopKGate", 1.0),
        ("NoisyTopKGate", 1.0),
        ("BiasBalancedGate", 1.0),
        ("HierarchicalGate", 0.8),
    ):
        gate = program.GATES[name]()
        gate.build((None, program.DEPTH))
        program.start_uneven(gate)
        load = gate(batch).load
        assert np.sum(load) == 2 * program.TOKENS
        # Even load would be half a token for two of eight experts.
        assert np.sum(load[:2]) > share * program.TOKENS


@pytest.mark.slow
def test_each_picture_is_drawn(program, tmp_path, capsys):
    names = ("SwitchGate", "ExpertChoiceGate")
    gates = {name: program.GATES[name] for name in names}
    records = program.watch_all(gates, steps=program.EVERY)
    program.draw(records, program.EVERY, tmp_path)
    printed = capsys.readouterr().out.splitlines()
    assert "SwitchGate" in printed[0]
    # Experts that choose are even from the beginning.
    assert "CV(load) 0.000 -> 0.000   max/mean load 1.000" in printed[1]
    for name in program.PICTURES:
        picture = xml.etree.ElementTree.parse(tmp_path / name).getroot()
        assert picture.tag.endswith("svg")


def test_equal_records_give_equal_files(program, tmp_path):
    record = program.Record(
        before=np.arange(1.0, 9.0),
        after=np.full(8, 2.0),
        balance=[0.5, 0.0],
        experts=np.array([0.25, 0.5, 0.25]),
    )
    files = []
    for _ in range(2):
        program.draw({"Gate": record}, 10, tmp_path)
        files.append([path.read_bytes() for path in sorted(tmp_path.iterdir())])
    assert len(files[0]) == 3
    assert files[0] == files[1]
