"""keras-hub's mixtures of experts, as they come and sparse.

    TF_ENABLE_ONEDNN_OPTS=1 python benchmarks/hub.py [--families=mixtral] \\
        [--rounds=20] [--prompt=256] [--tokens=32] [--scale=1] [--json=hub.json]

For each family a small model with random weights reads a prompt (`prefill`),
passes on one token (`token`), generates greedily (`generate`) and trains for
a step (`step`), in four ways: keras-hub and keras-hub under XLA
(`jit_compile=True`), sparse and sparse under XLA. `sparsify` changes no
weight, so that all four have the same.

Candidates take turns, so that other work on the machine hits them alike. The
speedup is the median over rounds of the time of the faster of keras-hub's two
over that of the faster of ours, each of the two that has the lower median;
"without XLA" holds ours without XLA against it, which is what Keras takes on
a processor by itself. Tokens of all four are compared.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402  after the log level
import keras_hub  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from interleaved import interleaved_times, median_ratio  # noqa: E402

import moe_keras  # noqa: E402
from moe_keras.hub import sparsify  # noqa: E402

MODELS = keras_hub.models
VOCABULARY = 1000
ATTENTION = {"num_query_heads": 4, "num_key_value_heads": 2}
# Widths of the model and of an expert are multiplied by --scale.
WIDTHS = ("hidden_dim", "intermediate_dim", "moe_intermediate_dim")
WIDTHS += ("shared_expert_intermediate_dim", "shared_expert_intermediate_size")
WIDTHS += ("expert_intermediate_dim", "head_dim")

# Backbone, task and sizes; experts and choices are those of the families.
FAMILIES = {
    "mixtral": (
        MODELS.MixtralBackbone,
        MODELS.MixtralCausalLM,
        {
            "num_layers": 4,
            "hidden_dim": 256,
            "intermediate_dim": 512,
            "num_experts": 8,
            "top_k": 2,
        },
    ),
    "one_expert": (
        MODELS.MixtralBackbone,
        MODELS.MixtralCausalLM,
        {
            "num_layers": 4,
            "hidden_dim": 256,
            "intermediate_dim": 512,
            "num_experts": 1,
            "top_k": 1,
        },
    ),
    "qwen_moe": (
        MODELS.QwenMoeBackbone,
        MODELS.QwenMoeCausalLM,
        {
            "num_layers": 2,
            "hidden_dim": 256,
            "intermediate_dim": 1024,
            "moe_intermediate_dim": 256,
            "shared_expert_intermediate_dim": 1024,
            "num_experts": 60,
            "top_k": 4,
        },
    ),
    "qwen3_moe": (
        MODELS.Qwen3MoeBackbone,
        MODELS.Qwen3MoeCausalLM,
        {
            "num_layers": 2,
            "hidden_dim": 256,
            "head_dim": 64,
            "intermediate_dim": 1024,
            "moe_intermediate_dim": 512,
            "num_experts": 64,
            "top_k": 8,
            "norm_top_k_prob": True,
        },
    ),
    "qwen3_5_moe": (
        MODELS.Qwen3_5MoeBackbone,
        MODELS.Qwen3_5MoeCausalLM,
        {
            "num_layers": 2,
            "layer_types": ["linear_attention", "full_attention"],
            "hidden_dim": 256,
            "head_dim": 64,
            "moe_intermediate_dim": 256,
            "shared_expert_intermediate_size": 256,
            "num_experts": 64,
            "top_k": 8,
            "linear_num_key_heads": 4,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 64,
            "linear_value_head_dim": 64,
        },
    ),
    "gpt_oss": (
        MODELS.GptOssBackbone,
        MODELS.GptOssCausalLM,
        {
            "num_layers": 2,
            "hidden_dim": 256,
            "intermediate_dim": 256,
            "num_experts": 32,
            "top_k": 4,
        },
    ),
    "gemma4": (
        MODELS.Gemma4Backbone,
        MODELS.Gemma4CausalLM,
        {
            "num_layers": 2,
            "layer_types": ["sliding_attention", "full_attention"],
            "image_size": 16,
            "hidden_dim": 256,
            "head_dim": 64,
            "intermediate_dim": 512,
            "enable_moe_block": True,
            "expert_intermediate_dim": 256,
            "num_experts": 64,
            "num_experts_per_token": 8,
        },
    ),
}
CANDIDATES = ("keras-hub", "keras-hub, XLA", "sparse", "sparse, XLA")


def make_model(family, candidate, scale):
    backbone, task, sizes = FAMILIES[family]
    sizes = {
        name: round(size * scale) if name in WIDTHS else size
        for name, size in sizes.items()
    }
    keras.utils.set_random_seed(0)
    backbone = backbone(vocabulary_size=VOCABULARY, **ATTENTION, **sizes)
    model = task(backbone=backbone, preprocessor=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.ndim > 1:  # Gemma 4's experts would begin with zeros
            fan_in = weight.shape[-2]
            weight.assign(rng.normal(scale=fan_in**-0.5, size=weight.shape))
    if "sparse" in candidate:
        sparsify(model)
    model.compile(
        "adam", jit_compile=candidate.endswith("XLA"), sampler="greedy"
    )
    return model


def make_inputs(family, batch, length, prompt=None):
    rng = np.random.default_rng(1)
    inputs = {
        "token_ids": rng.integers(1, VOCABULARY, (batch, length), "int32"),
        "padding_mask": np.tile(
            np.arange(length) < (prompt or length), (batch, 1)
        ),
    }
    if family == "gemma4":
        places = np.arange(length, dtype="int32")
        inputs["position_ids"] = np.tile(places, (batch, 1))
    return inputs


def forward(model, inputs):
    """A function that passes the inputs on, until the logits are there."""
    run = tf.function(model, jit_compile=model.jit_compile)
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    return lambda: run(tensors).numpy()


def generate(model, inputs):
    return lambda: model.generate(dict(inputs), stop_token_ids=None)


def train_step(model, inputs):
    targets = np.roll(inputs["token_ids"], -1, axis=1)
    return lambda: model.train_on_batch(inputs, targets)


def run_family(family, options):
    """Times a family; a row for each thing that is done."""
    models = {
        name: make_model(family, name, options.scale) for name in CANDIDATES
    }
    prompt, length = options.prompt, options.prompt + options.tokens
    read = make_inputs(family, options.batch, prompt)
    answer = make_inputs(family, options.batch, length, prompt)
    tokens = {
        name: generate(model, answer)()["token_ids"]
        for name, model in models.items()
    }
    same = {
        name: float(np.mean(ids == tokens["keras-hub"]))
        for name, ids in tokens.items()
    }
    work = {
        "prefill": (forward, read),
        "token": (forward, make_inputs(family, options.batch, 1)),
        "generate": (generate, answer),
        "step": (train_step, read),  # last, because it changes the weights
    }
    for what, (make, inputs) in work.items():
        times = interleaved_times(
            {name: make(model, inputs) for name, model in models.items()},
            options.rounds,
        )
        yield make_row(family, what, times, same)


def make_row(family, what, times, same):
    wall = {name: each.wall for name, each in times.items()}
    medians = {name: statistics.median(each) for name, each in wall.items()}
    theirs, ours = (
        min(CANDIDATES[at : at + 2], key=medians.get) for at in (0, 2)
    )
    return {
        "family": family,
        "what": what,
        "median_ms": {name: 1000 * each for name, each in medians.items()},
        "best_ms": {name: 1000 * min(each) for name, each in wall.items()},
        "median_processor_ms": {
            name: 1000 * statistics.median(each.processor)
            for name, each in times.items()
        },
        "speedup": 1 / median_ratio(wall[ours], wall[theirs]),
        "speedup_without_xla": 1 / median_ratio(wall["sparse"], wall[theirs]),
        "same_tokens": same,
    }


def print_row(row):
    columns = "".join(f"{row['median_ms'][name]:16.1f}" for name in CANDIDATES)
    print(
        f"{row['family']:12}{row['what']:10}{columns}{row['speedup']:9.2f}"
        f"{row['speedup_without_xla']:13.2f}"
        f"{100 * min(row['same_tokens'].values()):9.1f} %",
        flush=True,
    )


def machine():
    """Versions and the processor, to be kept beside the figures."""
    name = platform.processor()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text("utf-8").splitlines()
        names = [line for line in lines if line.startswith("model name")]
        name = names[0].partition(":")[2].strip() if names else name
    packages = ("keras-hub", "keras", "tensorflow", "numpy")
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        "moe_keras": moe_keras.__version__,
        **{each: importlib.metadata.version(each) for each in packages},
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--scale", type=float, default=1, help="of all widths")
    parser.add_argument("--json", help="file for all figures")
    options = parser.parse_args(arguments)
    unknown = set(options.families.split(",")) - set(FAMILIES)
    if unknown:
        parser.error(f"unknown: {unknown}; there are {', '.join(FAMILIES)}")
    columns = "".join(f"{name:>16}" for name in CANDIDATES)
    print(f"{'median ms':22}{columns}  speedup  without XLA  same tokens")
    rows = []
    for family in options.families.split(","):
        for row in run_family(family, options):
            rows.append(row)
            print_row(row)
    if options.json:
        figures = {"machine": machine(), "options": vars(options), "rows": rows}
        pathlib.Path(options.json).write_text(
            json.dumps(figures, indent=1), "utf-8"
        )


if __name__ == "__main__":
    main()
