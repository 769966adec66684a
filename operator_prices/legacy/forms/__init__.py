"""The forms that the old system's data comes in: found by content, read row by row."""
