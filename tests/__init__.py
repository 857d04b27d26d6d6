"""Tests. A package, so that mypy knows each module under one name."""
