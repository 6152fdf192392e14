"""A package, so that no installed one of the same name comes before it (sleap-io brings one)."""
