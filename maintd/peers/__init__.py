"""What is asked of a peer in a child process: one module for each library, loaded nowhere else."""
