"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

# No test is timed: a busy machine is no defect.
settings.register_profile("ledger", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ledger")
