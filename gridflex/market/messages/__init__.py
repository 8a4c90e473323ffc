"""The messages of a P415 sale: their content, their files, their deadlines."""
