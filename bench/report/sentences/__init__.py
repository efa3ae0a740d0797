"""What tables, figures and the page say in sentences."""
