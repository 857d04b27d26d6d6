"""Verification: the logs replayed without keys, and what is served compared with them."""
