"""Verification: replaying the logs without keys, and comparing the served files with them."""
