"""The two rounds of a publication: events to projects, changed targets to bins."""
