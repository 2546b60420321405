"""What lasts: the ledger, groups of outputs, files written at once or not at all."""
