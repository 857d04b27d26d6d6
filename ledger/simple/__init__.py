"""Another index, as the Simple API shows it: pages read into plain values, over HTTP or from a folder.

    pages     what a page says, in whatever form it is written
    json      reading PEP 691; html: reading PEP 503
    sources   the port: an index, a mirror in a folder, a folder of files

Nothing that is read is trusted. What a page says is a claim; only a digest of downloaded bytes is more.
"""
