"""Which generation of the topics a shop is in, and how far the change to the next one is.

The number of partitions of a topic cannot be changed without tearing products and orders apart. So it is changed by a new
generation of all topics, filled from the rows of the one before (`holdfast repartition`, docs/decisions/0017-generations.md). Topics of
generation n have `gn.` before their name, after HOLDFAST_TOPIC_PREFIX; those of the first have nothing. The topic
`generations` says which one is in use; every process reads it at the start, and looks at it now and then.
"""

from generations.history import Change, History, Step, prefix_of
from generations.reading import Watch, begun, read

__all__ = ["Change", "History", "Step", "Watch", "begun", "prefix_of", "read"]
