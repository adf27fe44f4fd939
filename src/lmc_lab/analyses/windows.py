"""Windows of a trunk that is trained again from its states on."""


def no_window(num_steps: int, last_step: int) -> str:
    """Returns why there is no window of `num_steps` steps that ends by the last step T, as the rest of a sentence."""
    return f"no window of {num_steps} steps from one of the trunk's states ends by T = {last_step}"
