"""What of a record is drawn: each module makes figures of one kind, with the table of the same numbers."""
