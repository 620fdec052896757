"""What an operator group costs on a device: measured, kept, put into a table."""
