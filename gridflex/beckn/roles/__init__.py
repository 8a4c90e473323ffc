"""Who deals with whom: seller, buyer, publisher of a need, discovery service, and all in one."""
