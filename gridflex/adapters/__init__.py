"""The only place that does I/O; what a domain needs of the outside is in the folder of its name."""
