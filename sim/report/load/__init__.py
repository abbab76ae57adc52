"""Reports on what ``adadecode-sim plan``, ``serve`` and ``observe`` wrote."""
