"""Stories of incidents that happened, as data: what was done and when, what the team is told, the question, the answer.

A story is pure. `consumers.service.playing` plays it into a real ledger; docs/incidents has a page about each.
"""
