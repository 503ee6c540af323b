"""`python -m moe_keras.report MODEL_DIR` shows the routing of a run."""

from moe_keras.report.page import ReportError, write_report

__all__ = ["ReportError", "write_report"]
