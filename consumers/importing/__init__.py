"""Importing another index, and keeping in step with it."""
