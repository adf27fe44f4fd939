"""Many processes that ask for one study at once."""

from concurrent.futures import ThreadPoolExecutor

from soak.study import study_command


def race(reference, place, tally, *, processes):
    """Starts the study so many times at once; all must succeed, and leave what one alone leaves."""
    place.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(processes) as pool:
        ends = list(pool.map(lambda _: reference.run(study_command(place), place), range(processes)))
    for ended in ends:
        tally.judge("race: a process of many", "succeeded", None if ended.has_succeeded else ended.last_words)
    tally.judge(f"race: {processes} at once", "the same bits", reference.difference(place))
