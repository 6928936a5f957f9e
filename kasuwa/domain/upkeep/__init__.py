"""What the installation does for itself once a day."""
