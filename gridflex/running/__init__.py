"""Starting, watching and ending a whole system on this machine."""
