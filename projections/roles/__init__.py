"""The right to sign: keys, documents of offline roles, the authority that follows from them, and drafts."""
