"""The follower, which applies publications to a state; every consumer is one."""
