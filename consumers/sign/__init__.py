"""The signer: when to publish, and how a publication is claimed, signed and appended."""
