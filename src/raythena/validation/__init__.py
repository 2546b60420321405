"""Proof that a job's outputs hold every event once: `validate(taskdir)`."""

from raythena.validation.findings import FileVerdict, Finding, Severity, Standing, Validation
from raythena.validation.proof import validate
from raythena.validation.readers import ENTRY_POINT_GROUP, event_numbers

__all__ = ["ENTRY_POINT_GROUP", "FileVerdict", "Finding", "Severity", "Standing", "Validation", "event_numbers", "validate"]
