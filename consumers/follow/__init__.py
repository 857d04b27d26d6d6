"""Followers: they apply publications to a state. Every consumer is a follower."""
