"""`python -m moe_keras.report MODEL_DIR`: the routing of a run on one page."""

from moe_keras.report.page import ReportError, write_report

__all__ = ["ReportError", "write_report"]
