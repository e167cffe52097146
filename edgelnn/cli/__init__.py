"""The command line: one file per command, each thin over one library call."""
