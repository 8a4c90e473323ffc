"""A Beckn network to try things on: registry, discovery service, a utility, an aggregator."""
