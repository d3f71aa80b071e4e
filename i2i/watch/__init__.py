"""What watches a run while it trains: the terminal, sample pictures, validation, the doctor, boards and reports."""
