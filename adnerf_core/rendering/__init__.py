"""Sampling rays and volume rendering: functions of tensors that know no model and no file."""
