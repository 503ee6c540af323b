"""Precisions that a processor has no products for are said to be slow."""

import pytest

from trainers.engine.precision import slow_precision


def _cpuinfo(tmp_path, flags):
    path = tmp_path / "cpuinfo"
    path.write_text(f"model name\t: some\nflags\t\t: fpu {flags}\n", "utf-8")
    return path


@pytest.mark.parametrize(
    "precision, flags",
    [
        ("mixed_bfloat16", "avx2"),
        ("mixed_bfloat16", "avx512_fp16"),
        ("mixed_float16", "avx512_bf16"),
    ],
)
def test_precision_without_products_is_said_to_be_slow(
    precision, flags, tmp_path
):
    text = slow_precision(precision, _cpuinfo(tmp_path, flags))
    assert text.startswith(f"precision={precision} is likely slower")


@pytest.mark.parametrize(
    "precision, flags",
    [
        ("float32", "avx2"),
        ("mixed_bfloat16", "avx512_bf16"),
        ("mixed_bfloat16", "amx_bf16"),
        ("mixed_float16", "avx512_fp16"),
    ],
)
def test_precision_with_products_is_not(precision, flags, tmp_path):
    assert slow_precision(precision, _cpuinfo(tmp_path, flags)) is None


def test_processor_that_tells_nothing_is_not_judged(tmp_path):
    assert slow_precision("mixed_bfloat16", tmp_path / "missing") is None
    empty = tmp_path / "empty"
    empty.write_text("", "utf-8")
    assert slow_precision("mixed_bfloat16", empty) is None
