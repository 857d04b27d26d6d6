"""The command line. Only modules in this package import click and rich."""
