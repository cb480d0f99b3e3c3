"""What stays on disk between commands: the content store, the ledger, the texts of builds."""
