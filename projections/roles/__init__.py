"""Who may sign: keys, the documents of offline roles, the authority that they make, and drafts of new ones."""
