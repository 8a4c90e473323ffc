"""One module per outside service; the only place that does I/O."""
