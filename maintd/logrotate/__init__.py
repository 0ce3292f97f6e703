"""logrotate's configuration language, its state file and its rules of what is due and how archives are called."""
