"""The palette of Okabe and Ito, which colour-blind readers can distinguish, and line styles that differ as well."""

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", "#000000")
STYLES = ("-", "--", "-.", ":")
