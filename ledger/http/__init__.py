"""Fetching over HTTP. Only modules in this package import httpx."""
