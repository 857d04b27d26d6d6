"""Processes and commands: asyncio loops that follow the logs, and the command line."""
