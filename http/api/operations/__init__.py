"""What each call of the API takes and gives, with examples that the tests send and compare."""
