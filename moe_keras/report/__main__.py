"""Writes the report of a run.

python -m moe_keras.report MODEL_DIR [--output=FILE]
"""

import argparse
import sys

from moe_keras import __version__
from moe_keras.report.page import write_report


def main(arguments=None):
    """Writes the page, and prints its path."""
    parser = argparse.ArgumentParser(
        prog="python -m moe_keras.report",
        description="Writes one HTML page on the routing of a run.",
    )
    parser.add_argument("model_dir", help="folder with routing.jsonl")
    parser.add_argument("--output", help="default: MODEL_DIR/report.html")
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args(arguments)
    try:
        print(write_report(options.model_dir, options.output))
    except ValueError as error:  # ReportError is one
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
