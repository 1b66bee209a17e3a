"""What the commands do, one file each, named after its command."""
