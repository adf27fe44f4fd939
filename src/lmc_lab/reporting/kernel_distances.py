"""What distances of tangent kernels are called, and their colours, on the page and on paper."""

from collections.abc import Mapping

from lmc_lab.reporting.palette import BLUE, GREEN, ORANGE, RED

VELOCITY = "kernel_velocity"
ALONG: Mapping[str, str] = {
    "kernel_distance_first": "from the first state",
    "kernel_distance_next": "to the next state",
    "kernel_distance_last": "to the last state",
}
BETWEEN: Mapping[str, str] = {
    "kernel_distance_endpoints": "endpoints of one hull",
    "kernel_distance_split": "endpoints and their split",
    "kernel_distance_trunks": "endpoints of different trunks",
}
COLOURS: Mapping[str, str] = {
    "kernel_distance_first": BLUE,
    "kernel_distance_next": ORANGE,
    "kernel_distance_last": GREEN,
    "kernel_distance_endpoints": GREEN,
    "kernel_distance_split": BLUE,
    "kernel_distance_trunks": RED,
}
WITHIN = (0.0, 1.0)  # what a distance can be
