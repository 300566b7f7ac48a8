"""What right implementations cost: clocks, fresh inputs, paired measurement, statistics."""
