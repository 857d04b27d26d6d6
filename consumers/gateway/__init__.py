"""The gateway: what is served, over HTTP, to installers, browsers and TUF clients."""
