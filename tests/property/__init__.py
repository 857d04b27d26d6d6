"""Tests of sentences of the specification, over generated input."""
