"""What is right and what is wrong with a set-up: this machine, and a deployment."""
