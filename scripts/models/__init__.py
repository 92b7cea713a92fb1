"""Models that the job trains: examples of users, none of which knows that a table can grow."""
