"""The small training run on several replicas, as a program for each worker.

`python tests/small_workers.py FOLDER '{"index": 0, "addresses": [...]}'`
"""

import dataclasses
import functools
import json
import sys

import keras
import numpy as np
import small_training
import tensorflow as tf

from moe_keras import HierarchicalGate
from moe_keras.monitoring import uncounted
from moe_keras.parallel.processes.cluster import Cluster
from moe_keras.parallel.processes.heartbeat import WorkerLost
from moe_keras.parallel.processes.strategies import start_workers
from moe_keras.parallel.processes.workers import Workers
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.loop import Loop, seed_everything


def hard_routing():
    """Two levels of gates, and experts that cannot take all tokens."""
    gate = HierarchicalGate(2, 2, k=(2, 1), name="gate")
    return {"gate": gate, "k": None, "seed": None, "capacity_factor": 0.75}


def make_model(is_random, is_hard=False):
    """The small model; without dropout unless `is_random`."""
    seed_everything(1)
    model = small_training.Small(**(hard_routing() if is_hard else {}))
    _, dropout, moe, _ = model.blocks
    dropout.rate = 0.3 * is_random
    with uncounted(model):
        model(tf.zeros((0, 3)))
    # Without noise a gate of zeros would send all to the same experts.
    for weight in moe.gate.trainable_variables:
        if weight.name == "gate_kernel":
            draw = tf.random.stateless_normal(weight.shape, [1, 2])
            weight.assign(draw)
    return model


def no_noise(shape, dtype=None, seed=None):
    """Stands in for `keras.random.normal`."""
    del seed
    return tf.zeros(shape, dtype)


def train(
    folder,
    steps,
    workers=None,
    is_random=False,
    seconds=0.0,
    log=print,
    is_hard=False,
):
    """Trains for so many steps, or goes on; returns the loop.

    If `is_hard`, with `hard_routing` and batches of 3, fewer than there may be
    workers.
    """
    workers = workers or Workers()
    with workers.scope():
        model = make_model(is_random, is_hard)
    evaluated = None
    if workers.is_chief:
        evaluated = make_model(is_random, is_hard)
    task = small_training.small_task(
        model=model,
        evaluated_model=evaluated,
        batches=small_training.batches(3 if is_hard else 5),
        evaluate=functools.partial(
            small_training.evaluate, evaluated, seconds=seconds
        ),
    )
    config = dataclasses.replace(small_training.CONFIG, steps=steps)
    loop = Loop(task, config, folder, log, workers)
    loop.resume()
    loop.run()
    return loop


def largest_difference(folder, other):
    """Between two runs' last weights, averages and moments.

    Returns:
        The largest difference, and how many variables were compared.
    """
    readers = [
        tf.train.load_checkpoint(training_folder(path).stored()[-1].prefix)
        for path in (folder, other)
    ]
    names = [
        name
        for name in readers[0].get_variable_to_shape_map()
        if name.startswith(("model/", "optimizer/", "average/averages/"))
    ]
    largest = max(
        float(np.max(np.abs(one - two), initial=0.0))
        for one, two in (
            [np.asarray(r.get_tensor(name), "float64") for r in readers]
            for name in names
        )
    )
    return largest, len(names)


def main(folder, options):
    options = json.loads(options)
    if not options.get("is_random"):
        keras.random.normal = no_noise
    keras.config.set_dtype_policy(options.get("precision", "float32"))
    cluster = Cluster(tuple(options["addresses"]), options["index"])
    try:
        workers = start_workers(
            "multi_worker",
            cluster=cluster,
            layout=options.get("layout"),
            about={"steps": options["steps"]},
        )
        say = functools.partial(print, flush=True)
        with workers:
            train(
                folder,
                options["steps"],
                workers,
                options.get("is_random", False),
                options.get("seconds", 0.0),
                say,
                options.get("is_hard", False),
            )
    except (ValueError, WorkerLost) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
