"""How good it is: metrics, calibration, threshold, bootstrap intervals, reports, figures."""
