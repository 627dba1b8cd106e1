"""What would the stack have done: recordings through the whole stack, and reports of it."""
