"""Seizures as events: windows of features, a detector that sees later, a predictor, alarms."""
