"""What a metric computes: scores of classes, of boundaries, their intervals, confusions."""
