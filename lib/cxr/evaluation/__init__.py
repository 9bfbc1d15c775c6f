"""Quality of a classifier: metrics, calibration, threshold, bootstrap intervals, reports, figures."""
