"""Says what a model needs of each device, and which layout to take.

python -m moe_keras.plan --preset=moe_131072_h --devices=128 --memory_gb=40
python -m moe_keras.plan --config=runs/mine/config.json --devices=4
"""

import argparse
import dataclasses
import sys

from moe_keras import __version__
from moe_keras.plan.config_file import read_model
from moe_keras.plan.memory import OPTIMIZERS, PRECISIONS, Training
from moe_keras.plan.planner import plan
from moe_keras.plan.presets import PRESETS
from moe_keras.plan.table import as_json, as_text


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m moe_keras.plan",
        description="Counts parameters, bytes of each device and bytes that "
        "cross between devices, and says which layout to take. A GB is 10^9 "
        "bytes.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--preset", choices=PRESETS, metavar="NAME", help=", ".join(PRESETS)
    )
    source.add_argument(
        "--config",
        metavar="FILE",
        help="config.json of a model folder, or a JSON file with sizes",
    )
    parser.add_argument(
        "--devices", type=int, help="by default the paper's, or 1"
    )
    parser.add_argument(
        "--memory_gb", type=float, help="of each device; by default enough"
    )
    parser.add_argument(
        "--tokens", type=int, help="of a batch, on all devices together"
    )
    parser.add_argument("--optimizer", choices=OPTIMIZERS)
    parser.add_argument("--precision", choices=PRECISIONS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def main(arguments=None):
    """Prints what each layout needs, and which one to take."""
    options = _parser().parse_args(arguments)
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
        result = plan(model, devices, training, memory_bytes)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(as_json(result) if options.json else as_text(result))
    sys.exit(0 if result.best else 1)


if __name__ == "__main__":
    main()
