"""Out of the log: the MySQL and Redis sinks and the tables they write."""
