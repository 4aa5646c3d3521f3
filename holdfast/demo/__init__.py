"""`make demo`: a file of real orders through the whole pipeline, timed, counted and audited."""
