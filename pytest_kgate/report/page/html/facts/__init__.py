"""What of a record is written down as tables: each module has one part of a gate's section."""
