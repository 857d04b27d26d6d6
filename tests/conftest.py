"""Settings that all tests share."""

from hypothesis import settings

# No test is timed: a busy machine is no defect.
settings.register_profile("ledger", deadline=None, max_examples=100)
settings.load_profile("ledger")
