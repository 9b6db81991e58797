"""Why a command of the archiver ends early, as whoever started it has to know: three kinds."""


class AskedWrong(Exception):
    """What was asked for makes no sense, or is not configured: why, and what to do."""


class Unavailable(Exception):
    """Something that all of it needs is not there; nothing was done: which, why."""


class NotDone(Exception):
    """Something is not done, or not all of it: why, and what to do."""
