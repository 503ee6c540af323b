"""What every program needs: flags, their modes, exit codes."""
