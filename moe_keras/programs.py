"""The arguments of the programs in this package, read before TensorFlow loads.

`python -m moe_keras.plan` imports `moe_keras` first, and with it TensorFlow,
which takes seconds. So the package imports this module before anything else.
It parses the arguments if Python is about to run one of `PROGRAMS`: help, the
version and a wrong argument end the process at once. The program itself then
parses them again.
"""

import argparse
import sys

from moe_keras.version import __version__

# Values of arguments, which `moe_keras.plan` has as well: a test compares them.
PRESETS = (
    *("mixtral_8x7b", "mixtral_8x22b", "qwen1.5_moe_a2.7b", "qwen3_30b_a3b"),
    *("qwen3_235b_a22b", "olmoe_1b_7b", "deepseek_moe_16b", "deepseek_v3"),
    *("gpt_oss_20b", "gpt_oss_120b"),
    *(f"glam_{size}" for size in ("64b_64e", "8b_64e", "1.7b_64e")),
    *(f"switch_{size}" for size in ("base", "large", "xxl", "c")),
    *("lstm_2048_512", "4xlstm_512", "moe_1_wide", "moe_1_deep"),
    *(f"moe_{size}" for size in ("4", "32", "256")),
    *(f"moe_{size}" for size in ("256_h", "1024_h", "4096_h", "34m", "143m")),
    "news_4xlstm_512",
    *(f"news_moe_{size}" for size in ("32", "256_h", "1024_h", "4096_h")),
    *(f"moe_{size}" for size in ("16384_h", "65536_h", "131072_h")),
    *(f"translation_{size}" for size in ("moe_32", "moe_512", "moe_2048")),
    "translation_multilingual",
)
OPTIMIZERS = ("adam", "factored_adam")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def plan_parser() -> argparse.ArgumentParser:
    """Makes the parser of `python -m moe_keras.plan`."""
    parser = _parser(
        "moe_keras.plan",
        "Counts parameters, bytes of each device and bytes that cross between "
        "devices, and says which layout to take. A GB is 10^9 bytes.",
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
    speed = parser.add_argument_group(
        "speed of each device, to tell the time of a step"
    )
    speed.add_argument(
        "--teraflops",
        type=float,
        help="of matrix products, a multiply-add counted as two",
    )
    speed.add_argument(
        "--network_gb_s",
        type=float,
        help="GB a second that it sends, while it receives as much",
    )
    speed.add_argument(
        "--memory_gb_s",
        type=float,
        help="GB a second that it reads or writes in its memory",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def report_parser() -> argparse.ArgumentParser:
    """Makes the parser of `python -m moe_keras.report`."""
    parser = _parser(
        "moe_keras.report", "Writes one HTML page on the routing of a run."
    )
    parser.add_argument("model_dir", help="folder with routing.jsonl")
    parser.add_argument("--output", help="default: MODEL_DIR/report.html")
    return parser


def worker_parser() -> argparse.ArgumentParser:
    """Makes the parser of `python -m moe_keras.parallel.worker`."""
    parser = _parser(
        "moe_keras.parallel.worker",
        "Lends the devices of this host to a program that trains.",
    )
    parser.add_argument(
        "--cluster",
        required=True,
        help="HOST:PORT,HOST:PORT,...: the program's, then those of the "
        "workers",
    )
    parser.add_argument(
        "--index",
        type=int,
        required=True,
        help="which of the addresses is this worker's, from 1",
    )
    return parser


PROGRAMS = {
    "moe_keras.plan": plan_parser,
    "moe_keras.report": report_parser,
    "moe_keras.parallel.worker": worker_parser,
}


def _parser(name, description):
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=description
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _check_arguments():
    """Ends the process where a program's arguments call for it."""
    is_found = sys.argv[:1] != ["-m"]  # that only while Python finds it
    if is_found or "-m" not in sys.orig_argv:
        return
    arguments = sys.orig_argv[sys.orig_argv.index("-m") + 1 :]
    if arguments[0] in PROGRAMS:
        PROGRAMS[arguments[0]]().parse_args(arguments[1:])


_check_arguments()
