"""Reading back what the sinks wrote: Redis first, MySQL on a miss, and the miss is filled."""
