"""What must always be true, judged from the ledger alone: pure checks that share no code with what they check."""
