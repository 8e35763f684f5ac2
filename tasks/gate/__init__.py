"""The gate: what would become of a submission if it were scored as it is, told before it is sent."""

from tasks.gate.check import check_submission
from tasks.gate.page import write_page
from tasks.gate.report import READY, WITH_LOSSES, WORTHLESS, Report

__all__ = ["READY", "WITH_LOSSES", "WORTHLESS", "Report", "check_submission", "write_page"]
