"""What makes each request happen once."""
