"""Says what a model needs of each device, and which layout to take.

python -m moe_keras.plan --preset=moe_131072_h --devices=128 --memory_gb=40
python -m moe_keras.plan --config=runs/mine/config.json --devices=4
python -m moe_keras.plan --preset=moe_4096_h --teraflops=1.6 \\
  --network_gb_s=1.25 --memory_gb_s=200
"""

import dataclasses
import sys

from moe_keras.plan.config_file import read_model
from moe_keras.plan.memory import Training
from moe_keras.plan.planner import plan
from moe_keras.plan.presets import PRESETS
from moe_keras.plan.step_time import Speed
from moe_keras.plan.table import as_json, as_text
from moe_keras.programs import plan_parser


def main(arguments=None):
    """Prints what each layout needs, and which one to take."""
    options = plan_parser().parse_args(arguments)
    try:
        if options.preset:
            model, training = PRESETS[options.preset], Training()
        else:
            model, training = read_model(options.config)
        given = {
            name: getattr(options, name)
            for name in ("tokens", "optimizer", "precision")
            if getattr(options, name) is not None
        }
        training = dataclasses.replace(training, **given)
        memory_bytes = None
        if options.memory_gb is not None:
            memory_bytes = int(options.memory_gb * 10**9)
        devices = model.devices if options.devices is None else options.devices
        result = plan(model, devices, training, memory_bytes, _speed(options))
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(as_json(result) if options.json else as_text(result))
    sys.exit(0 if result.best else 1)


def _speed(options):
    """`Speed` of the arguments, or None where there are none."""
    names = ("teraflops", "network_gb_s", "memory_gb_s")
    values = [getattr(options, name) for name in names]
    if all(value is None for value in values):
        return None
    if None in values:
        raise ValueError(
            "The time of a step needs all of "
            f"{', '.join(f'--{name}' for name in names)}."
        )
    return Speed(*values)


if __name__ == "__main__":
    main()
