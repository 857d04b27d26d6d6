"""The gateway: what it answers to installers, browsers, TUF clients and strangers."""
