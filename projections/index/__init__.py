"""What a package index is made of: projects with their pages, the list of projects, and other aggregates."""
