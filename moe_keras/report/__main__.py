"""Writes the report of a run.

python -m moe_keras.report MODEL_DIR [--output=FILE]
"""

import sys

from moe_keras.programs import report_parser
from moe_keras.report.page import write_report


def main(arguments=None):
    """Writes the page, and prints its path."""
    options = report_parser().parse_args(arguments)
    try:
        print(write_report(options.model_dir, options.output))
    except ValueError as error:  # ReportError is one
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
