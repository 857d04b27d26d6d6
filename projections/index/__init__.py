"""The parts of a package index: projects with their pages, the list of projects, and other aggregates."""
